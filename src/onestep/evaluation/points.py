"""The distance between clouds of points."""

import numpy as np

MOST = 1000
DIRECTIONS = 200


def wasserstein(samples: np.ndarray, reference: np.ndarray, seed: int = 0, most: int = MOST) -> float:
    """Wasserstein-2 distance, exact: the root of the least mean squared Euclidean distance over all pairings.

    samples: [N, D], reference: [M, D]. Pairing wants equal numbers: of the larger cloud, or of both above `most`, a
    random part is taken, which the seed decides (M 2000: .05 s for 400 points, .5 s for 1000). Raises ValueError
    where a sample is not finite.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    cost = cdist(*_equal(samples, reference, seed, most), "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))


def sliced_wasserstein(samples: np.ndarray, reference: np.ndarray, seed: int = 0, most: int = MOST) -> float:
    """The same of the clouds' shadows on lines, where pairing is sorting: the root of the mean over DIRECTIONS of them.

    Bonneel et al. 2015. seed: of the lines too.
    """
    chosen = _equal(samples, reference, seed, most)
    lines = np.random.RandomState(seed).standard_normal((samples.shape[1], DIRECTIONS))
    lines /= np.linalg.norm(lines, axis=0)
    shadows = [np.sort(cloud.astype(np.float64) @ lines, axis=0) for cloud in chosen]
    return float(np.sqrt(np.mean((shadows[0] - shadows[1]) ** 2)))


def _equal(samples: np.ndarray, reference: np.ndarray, seed: int, most: int) -> list[np.ndarray]:
    """As many of both."""
    if not (len(samples) and len(reference) and np.isfinite(samples).all()):
        raise ValueError(f"The distance of {len(samples)} samples to {len(reference)}: there are some, all finite.")
    count = min(len(samples), len(reference), most)
    rng = np.random.RandomState(seed)
    return [cloud[np.sort(rng.permutation(len(cloud))[:count])] for cloud in (samples, reference)]
