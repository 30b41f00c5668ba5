"""Scores of generated images against a reference, as torch-fidelity computes them, from features computed once."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.evaluation.evaluators import Evaluator
from fewstep.evaluation.features import Extractor, Features
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.frechet import distance_of_sets
from fewstep.evaluation.neighbours import Neighbourhoods, compare_neighbours
from fewstep.support.device import best_device
from fewstep.support.errors import InvalidInput

FEWEST = 10  # samples; the inception score is a mean over ten parts
SUBSETS, SUBSET = 100, 1000  # of KID: their number, and the images of each, at most
FEW = 10_000  # images, of which matrices are so small that a second thread does not pay


@contextmanager
def one_thread() -> Generator[None]:
    """Use one thread. Matrices as small as these gain little from a second one, and lose much on a busy machine."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@dataclass(frozen=True)
class Reference:
    """Features and statistics of the training images, computed once and used for every row."""

    features: Features
    statistics: dict[str, Any] = field(repr=False)
    labels: np.ndarray | None = field(default=None, repr=False)

    @classmethod
    def of(cls, images: np.ndarray, extractor: Extractor, labels: np.ndarray | None = None) -> "Reference":
        return cls.of_features(extractor(images), labels)

    @classmethod
    def of_features(cls, features: Features, labels: np.ndarray | None = None) -> "Reference":
        """labels: the classes of the images, [N]."""
        import_fidelity()
        from torch_fidelity.metric_fid import fid_features_to_statistics

        return cls(features, fid_features_to_statistics(features.features), labels)

    @cached_property
    def neighbours(self) -> Neighbourhoods:
        """Of each image among the others."""
        return Neighbourhoods.of(self.features.features)


def score_images(
    images: np.ndarray,
    reference: Reference,
    extractor: Extractor,
    seed: int = 0,
    labels: np.ndarray | None = None,
    evaluators: Sequence[Evaluator] = (),
) -> dict[str, float]:
    """{fid_<extractor>, kid_, precision_, recall_, density_, coverage_, is_} of uint8 images [N, C, H, W]; is_ only
    with logits of labels.

    seed: of the subsets of KID and of the order of the parts of IS. labels: [N], the classes that the images were made
    for. If the extractor classifies labels, label_agreement_ is the share of images that it gives the same class. If
    the reference has labels, class_fid_ is the mean over classes of FID within a class, worst_class_fid_ the highest.
    evaluators: of other programs, whose scores are fid_edm_<extractor> and so on.
    Raises ValueError for fewer than FEWEST images.
    """
    found = extractor(images, spatial=any(each.spatial for each in evaluators))
    scores = score_features(found, reference, seed)
    if labels is not None and extractor.record.get("task") == "labels":
        assert found.logits is not None
        scores["label_agreement"] = float((found.logits.argmax(1).numpy() == labels).mean())
    if labels is not None and reference.labels is not None:
        scores |= score_classes(found.features, labels, reference)
    for each in evaluators:
        scores |= each.scores(found)
    return {f"{score}_{extractor.name}": value for score, value in scores.items()}


def score_classes(features: Tensor, labels: np.ndarray, reference: Reference) -> dict[str, float]:
    """FID within each class: the mean over all classes that were asked for, and the highest. {} where one of them has
    fewer than FEWEST samples or reference images. features: [N, D]. labels: [N].
    """
    assert reference.labels is not None
    known, found = reference.features.features, []
    for label in np.unique(labels):
        sets = features[torch.from_numpy(labels == label)], known[torch.from_numpy(reference.labels == label)]
        if min(map(len, sets)) < FEWEST:
            return {}
        found.append(distance_of_sets(*sets))
    return {"class_fid": float(np.mean(found)), "worst_class_fid": max(found)}


def score_features(samples: Features, reference: Reference, seed: int = 0) -> dict[str, float]:
    """FID (Heusel et al. 2017), KID (Binkowski et al. 2018), precision and recall (Kynkaanniemi et al. 2019),
    density and coverage (Naeem et al. 2020), IS.

    FID falls with the number of samples, so compare it at equal numbers; KID does not, and may be slightly negative.
    IS is of logits, where there are any.
    """
    fewest = min(len(samples), len(reference.features))
    if fewest < FEWEST:
        raise InvalidInput(f"scores need at least {FEWEST} images, of samples and of reference, got {fewest}.")
    import_fidelity()
    from torch_fidelity.metric_isc import isc_features_to_metric

    with one_thread() if max(len(samples), len(reference.features)) <= FEW else nullcontext():
        scores = {
            "fid": frechet_distance(samples, reference),
            "kid": _kernel_distance(samples.features, reference.features.features, seed),
            **compare_neighbours(samples.features, reference.neighbours),
        }
        if samples.logits is not None:
            scores["is"] = isc_features_to_metric(samples.logits, rng_seed=seed)["inception_score_mean"]
    return scores


@one_thread()
def frechet_distance(samples: Features, reference: Reference) -> float:
    """FID alone, without the other scores."""
    import_fidelity()
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    statistics = fid_features_to_statistics(samples.features)
    return fid_statistics_to_metric(statistics, reference.statistics, verbose=False)["frechet_inception_distance"]


def _kernel_distance(found: Tensor, known: Tensor, seed: int) -> float:
    """KID as torch-fidelity has it: the mean over random subsets."""
    rng, size = np.random.RandomState(seed), min(SUBSET, len(found), len(known))
    found, known = found.to(best_device()), known.to(best_device())
    estimates = []
    for _ in range(SUBSETS):
        x, y = (f[torch.from_numpy(rng.choice(len(f), size, replace=False)).to(f.device)] for f in (found, known))
        estimates.append(kernel_distance(x, y))
    return float(np.mean(estimates))


def kernel_distance(x: Tensor, y: Tensor) -> float:
    """KID of two sets of features, [N, D] each: torch-fidelity's unbiased estimator, its cubic kernel in place, which
    is 20 times as fast.
    """
    import_fidelity()
    from torch_fidelity.metric_kid import mmd2

    kernels = ((a @ b.T).div_(a.shape[1]).add_(1).pow_(3).cpu().numpy() for a, b in ((x, x), (x, y), (y, y)))
    within_x, between, within_y = kernels
    return float(mmd2(within_x, between, within_y))
