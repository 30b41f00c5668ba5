"""The distance between clouds of points."""

import numpy as np

MOST = 1000


def wasserstein(samples: np.ndarray, reference: np.ndarray, seed: int = 0, most: int = MOST) -> float:
    """Wasserstein-2 distance, exact: the root of the least mean squared Euclidean distance over all pairings.

    samples: [N, D], reference: [M, D]. Pairing wants equal numbers: of the larger cloud, or of both above `most`, a
    random part is taken, which the seed decides (M 2000: .05 s for 400 points, .5 s for 1000). Raises ValueError
    where a sample is not finite.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    if not (len(samples) and len(reference) and np.isfinite(samples).all()):
        raise ValueError(f"The distance of {len(samples)} samples to {len(reference)}: there are some, all finite.")
    count = min(len(samples), len(reference), most)
    rng = np.random.RandomState(seed)
    chosen = [cloud[np.sort(rng.permutation(len(cloud))[:count])] for cloud in (samples, reference)]
    cost = cdist(*chosen, "sqeuclidean")
    return float(np.sqrt(cost[linear_sum_assignment(cost)].mean()))
