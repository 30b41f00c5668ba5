"""Whether two sets of images differ: KID, with an interval from parts that have no image in common."""

import numpy as np
import torch
from torch import Tensor

from fewstep.evaluation.results import Score
from fewstep.evaluation.scores import FEWEST, SUBSET, kernel_distance, one_thread
from fewstep.support.errors import InvalidInput

PARTS = 10  # of each set, at least
LEAST = PARTS * FEWEST  # pictures


def check_count(count: int) -> None:
    """Raise InvalidInput for too few pictures."""
    if count < LEAST:
        raise InvalidInput(f"drift needs at least {LEAST} pictures on both sides, got {count}.")


@one_thread()
def drift(found: Tensor, known: Tensor, seed: int = 0) -> Score:
    """KID between features [N, D] and [M, D], a value for each part.

    Both sets are shuffled and cut into the same number of parts of one size, and part is compared with part. So the
    values are independent, and their interval has the uncertainty of both sets. It is around 0 for sets of one
    distribution. Images of the larger set that no part has room for are left out. seed: of the shuffling.
    Raises InvalidInput for fewer than LEAST images of either.
    """
    fewest = min(len(found), len(known))
    check_count(fewest)
    parts = max(PARTS, -(-fewest // SUBSET))
    size, rng = fewest // parts, np.random.default_rng(seed)
    x, y = (each[torch.from_numpy(rng.permutation(len(each))[: parts * size])] for each in (found, known))
    pairs = zip(x.split(size), y.split(size), strict=True)
    return Score(tuple(kernel_distance(a, b) for a, b in pairs))
