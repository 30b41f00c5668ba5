from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from fewstep.evaluation.features import Features
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.features.fidelity_register import register_extractor
from fewstep.evaluation.neighbours import ROWS
from fewstep.evaluation.scores import Reference, score_classes, score_features, score_images


class Images(Dataset):
    def __init__(self, images):
        self.images = torch.from_numpy(np.array(images))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


@pytest.fixture(scope="module")
def noisy(digits):
    """Training digits under noise, as a generator's samples."""
    images = digits.images("train")[:300].astype(float)
    return np.clip(images + np.random.default_rng(0).normal(0, 25, images.shape), 0, 255).astype(np.uint8)


def exactly_gaussian(mean, covariance, count, seed):
    """Features whose sample mean and covariance are exactly these."""
    draws = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    white = (draws - draws.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(draws.T.cov())).T
    return Features(white @ torch.linalg.cholesky(covariance).T + mean, torch.zeros(count, 2))


def test_fid_of_two_gaussians_is_the_closed_form():
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), with S1 and S2 that do not commute."""
    angle = torch.tensor(0.7, dtype=torch.float64)
    turn = torch.stack([torch.stack([angle.cos(), -angle.sin()]), torch.stack([angle.sin(), angle.cos()])])
    first, second = (
        torch.diag(torch.tensor([4.0, 1.0])).double(),
        turn @ torch.diag(torch.tensor([9.0, 0.25])).double() @ turn.T,
    )
    means = torch.tensor([[0.0, 0.0], [3.0, -1.0]], dtype=torch.float64)
    root = (torch.trace(first @ second) + 2 * torch.sqrt(torch.det(first @ second))).sqrt()  # of a 2x2 matrix
    expected = 10 + torch.trace(first + second) - 2 * root
    reference = Reference.of_features(exactly_gaussian(means[1], second, 60, 1))
    found = score_features(exactly_gaussian(means[0], first, 50, 0), reference)
    assert found["fid"] == pytest.approx(float(expected), rel=1e-9)


def test_scores_are_torch_fidelitys(noisy, extractor, digits):
    known = digits.images("train")[300:]
    name = register_extractor(extractor)
    theirs = import_fidelity().calculate_metrics(
        input1=Images(noisy), input2=Images(known), feature_extractor=name, fid=True, kid=True, isc=True, prc=True,
        kid_subset_size=len(noisy), rng_seed=5, cuda=False, save_cpu_ram=True, cache=False, verbose=False,
    )  # fmt: skip
    ours = score_images(noisy, Reference.of(known, extractor), extractor, seed=5)
    names = {
        "fid_digits": "frechet_inception_distance",
        "kid_digits": "kernel_inception_distance_mean",
        "is_digits": "inception_score_mean",
        "precision_digits": "precision",
        "recall_digits": "recall",
    }
    assert {our: ours[our] for our in names} == {
        our: pytest.approx(theirs[their], rel=1e-5, abs=1e-6) for our, their in names.items()
    }
    assert ours.keys() - names == {"density_digits", "coverage_digits"}


def test_precision_and_recall_of_many_rows_are_torch_fidelitys():
    import_fidelity()
    from torch_fidelity.metric_prc import prc_features_to_metric

    generator = torch.Generator().manual_seed(0)
    found, known = (scale * torch.randn(n, 8, generator=generator) for scale, n in ((1.2, 2 * ROWS + 1), (1, 3 * ROWS)))
    theirs = prc_features_to_metric(
        found, known, prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
    )
    ours = score_features(Features(found, torch.zeros(len(found), 2)), Reference.of_features(Features(known, known)))
    assert 0.1 < ours["precision"] < 0.99 and 0.1 < ours["recall"] < 0.99
    assert all(ours[name] == pytest.approx(theirs[name], abs=1e-6) for name in ("precision", "recall"))


def test_registering_twice_is_no_error(extractor):
    assert register_extractor(extractor) == register_extractor(extractor) == "digits"


def test_the_seed_decides(noisy, extractor, digits):
    reference = Reference.of(digits.images("train"), extractor)
    first, again, other = (score_images(noisy, reference, extractor, seed) for seed in (0, 0, 1))
    assert first == again
    assert first["fid_digits"] == other["fid_digits"]
    assert first["kid_digits"] != other["kid_digits"]


def test_scores_see_noise_and_a_missing_class(noisy, extractor, digits):
    images, labels = digits.images("train"), digits.labels("train")
    reference = Reference.of(images, extractor)
    clean = score_images(images[:300], reference, extractor)
    without_zero = score_images(images[labels != 0][:300], reference, extractor)
    assert score_images(noisy, reference, extractor)["fid_digits"] > 1.3 * clean["fid_digits"]
    assert without_zero["fid_digits"] > 1.3 * clean["fid_digits"]
    assert without_zero["recall_digits"] < clean["recall_digits"]


def test_labels_that_were_asked_for_are_compared_with_those_seen(extractor, digits):
    images, labels = digits.images("heldout"), np.array(digits.labels("heldout"))
    reference = Reference.of(digits.images("train"), extractor)

    def agreement(asked, judge=extractor):
        return score_images(images, reference, judge, labels=asked).get("label_agreement_digits")

    assert agreement(labels) == pytest.approx(extractor.record["heldout_accuracy"], abs=1e-4)
    assert agreement((labels + 1) % 10) < 0.02
    half = np.where(np.arange(len(labels)) % 2, labels, (labels + 1) % 10)
    assert agreement(half) == pytest.approx(0.5, abs=0.02)
    assert agreement(labels, replace(extractor, record={"task": "rotations"})) is None
    assert agreement(None) is None


def test_too_few_images(extractor, digits):
    images = digits.images("train")[:9]
    with pytest.raises(ValueError, match="scores need at least 10 images, of samples and of reference, got 9"):
        score_images(images, Reference.of(digits.images("train")[:50], extractor), extractor)


def test_fid_within_classes(extractor, digits):
    """Of samples with the right digits it is low; with digits of another class it is as high as FID between classes."""
    images, labels = digits.images("heldout"), np.array(digits.labels("heldout"))
    reference = Reference.of(digits.images("train"), extractor, np.array(digits.labels("train")))
    found, known = extractor(images).features, reference.features.features
    right, wrong = (score_classes(found, asked, reference) for asked in (labels, (labels + 1) % 10))
    each = [Reference.of_features(Features(known[reference.labels == label])).statistics for label in range(10)]
    import_fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    ours = [fid_features_to_statistics(found[labels == label]) for label in range(10)]
    expected = [
        fid_statistics_to_metric(*pair, verbose=False)["frechet_inception_distance"]
        for pair in zip(ours, each, strict=False)
    ]
    assert right["class_fid"] == pytest.approx(np.mean(expected), rel=1e-4)
    assert right["worst_class_fid"] == pytest.approx(max(expected), rel=1e-4)
    assert wrong["class_fid"] > 2 * right["class_fid"]
    assert score_classes(found[:30], labels[:30], reference) == {}, "some class has fewer than ten"
    assert not {"class_fid_digits"} & score_images(images, reference, extractor).keys()
    assert "class_fid_digits" in score_images(images, reference, extractor, labels=labels)


def test_precision_looks_at_all_of_many_images():
    """The last tenth of 11,000 samples are far away."""
    known = torch.rand(500, 2)
    samples = known.repeat(22, 1)
    samples[-1100:] += 10
    found = score_features(Features(samples), Reference.of_features(Features(known)))
    assert found["precision"] == pytest.approx(0.9)
