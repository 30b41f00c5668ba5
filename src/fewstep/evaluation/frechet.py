"""The Fréchet distance of two Gaussians (Dowson and Landau 1982), by which FID compares sets of features."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from torch import Tensor


@dataclass(frozen=True)
class FeatureStatistics:
    """mean: [D], covariance: [D, D] with N - 1 in the denominator, float64: of the features of a set of images."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, features: Tensor) -> "FeatureStatistics":
        """Of features [N, D], of at least two images."""
        values = features.double().numpy()
        return cls(values.mean(0), np.atleast_2d(np.cov(values, rowvar=False)))

    @cached_property
    def _root(self) -> np.ndarray:
        return _root(self.covariance)

    def distance(self, other: "FeatureStatistics") -> float:
        """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), at least 0.

        The trace of the root is the sum of the singular values of A1^T A2. So it is real and finite where a covariance
        is singular, as that of fewer images than features.
        """
        shift = np.square(self.mean - other.mean).sum()
        return _distance(shift, self._root, other._root)


def distance_of_sets(found: Tensor, known: Tensor) -> float:
    """The same distance of two sets of features, [N, D] and [M, D], cheap for fewer images than features.

    Then the centred features are themselves a root of the covariance.
    """
    values = [features.double().numpy() for features in (found, known)]
    centred = [(each - each.mean(0)) / np.sqrt(len(each) - 1) for each in values]
    roots = [each.T if len(each) <= each.shape[1] else _root(each.T @ each) for each in centred]
    return _distance(np.square(values[0].mean(0) - values[1].mean(0)).sum(), *roots)


def _root(covariance: np.ndarray) -> np.ndarray:
    """A matrix A with A A^T = covariance. Directions without variance are exactly 0."""
    values, axes = np.linalg.eigh(covariance)
    least = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
    return axes * np.sqrt(np.where(values > least, values, 0))


def _distance(shift: float, one: np.ndarray, other: np.ndarray) -> float:
    """shift: |m1 - m2|^2. one, other: roots of the covariances."""
    between = np.linalg.svd(one.T @ other, compute_uv=False).sum()
    return float(max(shift + np.square(one).sum() + np.square(other).sum() - 2 * between, 0))
