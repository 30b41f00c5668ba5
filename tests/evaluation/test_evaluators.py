"""Each evaluator is its program's published formula, written here again, on the same features."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm
from scipy.spatial.distance import cdist

from fewstep.evaluation.evaluators import Evaluator, inception_score_in_parts
from fewstep.evaluation.features import Extractor, Features
from fewstep.evaluation.features.extractor import file_sha256
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.ladder import Judge, evaluate_given
from fewstep.evaluation.reference_files import read_reference, read_references, write_statistics
from fewstep.evaluation.results import Evaluation

WIDTH, SPATIAL, CLASSES = 12, 9, 5


def moments(features):
    """As EDM's fid.py adds them up: sums of x and x x^T in float64."""
    x, n = features.astype(np.float64), len(features)
    mean = x.sum(0) / n
    return mean, (x.T @ x - n * np.outer(mean, mean)) / (n - 1)


def frechet(one, other):
    """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), with the matrix root of Heusel et al. 2017."""
    root = np.real(sqrtm(one[1] @ other[1]))
    return np.square(one[0] - other[0]).sum() + np.trace(one[1] + other[1] - 2 * root)


def radii(x):
    """Squared distances to the third nearest beside itself."""
    return np.sort(cdist(x, x, "sqeuclidean"), axis=1)[:, 3]


def precision_and_recall(samples, known):
    """The share of samples within the radius of any real image, and of real ones within that of any sample."""
    far = cdist(samples, known, "sqeuclidean")
    return (far <= radii(known)).any(1).mean(), (far <= radii(samples)[:, None]).any(0).mean()


def inception_score(logits, size):
    scores = []
    for part in np.split(logits, range(size, len(logits), size)):
        p = np.exp(part - part.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        scores.append(np.exp((p * (np.log(p) - np.log(p.mean(0)))).sum(1).mean()))
    return np.mean(scores)


@pytest.fixture(scope="module")
def inception():
    """An extractor that is called inception: random projections of pixels, with logits and spatial features."""
    generator = torch.Generator().manual_seed(0)
    weights = [torch.randn(64, n, generator=generator) / 8 for n in (WIDTH, CLASSES, SPATIAL)]

    def network(images):
        pixels = images.flatten(1).float() / 64 - 1
        return tuple(torch.tanh(pixels @ weight) for weight in weights)

    return Extractor("inception", "a" * 64, network, (1, 8, 8))


@pytest.fixture
def both(digits, inception):
    """Held-out digits as samples, training digits as reference, and the features of both as arrays."""
    samples, known = digits.images("heldout")[:200], digits.images("train")[:300]
    features = [inception(images, spatial=True) for images in (samples, known)]
    return samples, known, *features


def scored(samples, path, extractor, space):
    return Evaluator.of(read_reference(path), extractor, space).scores(samples)


def test_edms_fid(both, inception, digits, tmp_path):
    _, _, found, known = both
    mu, sigma = moments(known.features.numpy())
    np.savez(tmp_path / "edm.npz", mu=mu, sigma=sigma)
    ours = scored(found, tmp_path / "edm.npz", inception, digits.space)
    assert ours == {"fid_edm": pytest.approx(frechet(moments(found.features.numpy()), (mu, sigma)), rel=1e-6)}


def test_openais_evaluator_of_images(both, inception, digits, tmp_path):
    _, images, found, _known = both
    np.savez(tmp_path / "batch.npz", images.transpose(0, 2, 3, 1).repeat(3, axis=3))
    ours = scored(found, tmp_path / "batch.npz", inception, digits.space)
    features, spatial = (
        [each.numpy() for each in pair] for pair in zip(*((f.features, f.spatial) for f in both[2:]), strict=True)
    )
    precision, recall = precision_and_recall(*features)
    assert 0.2 < precision < 0.99 and 0.2 < recall < 0.99
    assert ours == {
        "fid_adm": pytest.approx(frechet(*map(moments, features)), rel=1e-6),
        "sfid_adm": pytest.approx(frechet(*map(moments, spatial)), rel=1e-6),
        "precision_adm": pytest.approx(precision, abs=1e-6),
        "recall_adm": pytest.approx(recall, abs=1e-6),
        "is_adm": pytest.approx(inception_score(found.logits.numpy().astype(np.float64), 5000), rel=1e-6),
    }


def test_statistics_in_openais_file_go_before_its_images(both, inception, digits, tmp_path):
    _, images, found, known = both
    half = Features(known.features[:150], None, known.spatial[:150])
    statistics = dict(zip(("mu", "sigma"), moments(half.features.numpy()), strict=True))
    statistics |= dict(zip(("mu_s", "sigma_s"), moments(half.spatial.numpy()), strict=True))
    np.savez(tmp_path / "batch.npz", images.transpose(0, 2, 3, 1), **statistics)
    np.savez(tmp_path / "statistics.npz", **statistics)
    ours, bare = (scored(found, tmp_path / f"{name}.npz", inception, digits.space) for name in ("batch", "statistics"))
    expected = frechet(moments(found.features.numpy()), (statistics["mu"], statistics["sigma"]))
    assert ours["fid_adm"] == bare["fid_adm"] == pytest.approx(expected, rel=1e-6)
    assert ours["sfid_adm"] == bare["sfid_adm"] and "recall_adm" in ours and "recall_adm" not in bare
    # they are Inception's: with other features those of the images are taken
    other = scored(found, tmp_path / "batch.npz", replace(inception, name="digits"), digits.space)
    assert other["fid_adm"] != ours["fid_adm"]


@pytest.mark.parametrize("size", [40, 64, 200])
def test_openais_inception_score_is_of_consecutive_parts(both, size):
    logits = both[2].logits
    expected = inception_score(logits.numpy().astype(np.float64), size)
    assert inception_score_in_parts(logits, size) == pytest.approx(expected, rel=1e-9)
    assert inception_score_in_parts(torch.tensor([[400.0, 0.0], [0.0, 400.0]])) == pytest.approx(2)


def test_torch_fidelitys_cache(both, inception, digits, tmp_path):
    import_fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    _, _, found, known = both
    statistics = [fid_features_to_statistics(each.features) for each in (found, known)]
    torch.save(statistics[1], tmp_path / "digits-ours-stat-fid-features.pt")
    ours = scored(found, tmp_path / "digits-ours-stat-fid-features.pt", inception, digits.space)
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert ours == {"fid_fidelity": pytest.approx(theirs, rel=1e-5)}  # their means are in float32


def test_clean_fids_statistics_are_of_clean_features(both, inception, digits, tmp_path):
    _, _, found, known = both
    path = tmp_path / "digits_clean_custom_na.npz"
    np.savez(path, **dict(zip(("mu", "sigma"), moments(known.features.numpy()), strict=True)))
    assert set(scored(found, path, replace(inception, name="inception-clean"), digits.space)) == {"fid_clean"}
    with pytest.raises(ValueError, match=r"clean_custom_na.npz has statistics of inception-clean features"):
        Evaluator.of(read_reference(path), inception, digits.space)


def test_evaluators_stand_beside_the_usual_scores(both, inception, digits, tmp_path):
    samples, images, _found, known = both
    about = {"dataset": "digits", "shape": [1, 8, 8], "extractor": "inception", "extractor_sha256": "a" * 64}
    write_statistics(tmp_path / "edm.npz", known, about)
    np.savez(tmp_path / "adm.npz", images.transpose(0, 2, 3, 1))
    references = read_references([str(tmp_path / "edm.npz"), str(tmp_path / "adm.npz")])
    scores = evaluate_given(samples, "s", digits, inception, count=100, seeds=[0, 1], references=references)
    row = scores.rows[0].scores
    assert row["fid_edm_inception"].mean == pytest.approx(row["fid_adm_inception"].mean, rel=1e-9)
    assert {"sfid_adm_inception", "is_adm_inception", "recall_adm_inception", "fid_inception"} <= row.keys()
    assert set(row) == set(scores.floor.scores)
    assert scores.primary == "fid_inception"
    assert scores.measurement.references == {name: file_sha256(tmp_path / f"{name}.npz") for name in ("edm", "adm")}
    assert Evaluation.from_json(json.loads(json.dumps(scores.to_json()))) == scores
    other = replace(scores.measurement, references={"edm": "b" * 64})
    assert scores.measurement.difference(other).startswith("the reference of fid_edm differs")
    assert scores.measurement.difference(replace(other, references={})) is None


def test_another_number_of_features_is_refused_before_samples_are_looked_at(inception, digits, tmp_path):
    np.savez(tmp_path / "edm.npz", mu=np.zeros(7), sigma=np.eye(7))
    with pytest.raises(ValueError, match=r"edm.npz has statistics of 7 features, and evaluation.features gives 12"):
        Judge.of(digits, inception, references=read_references([str(tmp_path / "edm.npz")]))
