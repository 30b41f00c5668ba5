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
        """A matrix A with A A^T = covariance. Directions without variance are exactly 0."""
        values, axes = np.linalg.eigh(self.covariance)
        least = len(values) * np.finfo(np.float64).eps * max(values[-1], 0)
        return axes * np.sqrt(np.where(values > least, values, 0))

    def distance(self, other: "FeatureStatistics") -> float:
        """|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), at least 0.

        The trace of the root is the sum of the singular values of A1^T A2. So it is real and finite where a covariance
        is singular, as that of fewer images than features.
        """
        between = np.linalg.svd(self._root.T @ other._root, compute_uv=False).sum()
        shift = np.square(self.mean - other.mean).sum()
        return float(max(shift + np.trace(self.covariance) + np.trace(other.covariance) - 2 * between, 0))
