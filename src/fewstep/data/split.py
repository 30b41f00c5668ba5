"""Which rows are for training, and where each row is stored."""

import numpy as np

from fewstep.diffusion.randomness import derive_seed
from fewstep.support.errors import InvalidInput


def stratified_split(labels: np.ndarray, heldout: float, seed: int) -> np.ndarray:
    """bool [N]: the held-out rows, the share `heldout` of all and, to within one row, of each label.

    Raises ValueError where a side would be empty.
    """
    order = _permutation(len(labels), "split", seed)
    by_label = order[np.argsort(labels[order], kind="stable")]
    quota = np.floor(np.arange(len(labels) + 1) * heldout + 0.5)
    chosen = np.zeros(len(labels), bool)
    chosen[by_label[np.diff(quota) > 0]] = True
    if not 0 < chosen.sum() < len(labels):
        raise InvalidInput(f"{len(labels)} rows cannot be split with a held-out share of {heldout}: one side is empty.")
    return chosen


def stored_positions(heldout: np.ndarray, seed: int) -> np.ndarray:
    """[N]: where each row is stored, training rows first, in random order on both sides."""
    order = _permutation(len(heldout), "order", seed)
    stored = order[np.argsort(heldout[order], kind="stable")]
    positions = np.empty_like(stored)
    positions[stored] = np.arange(len(stored))
    return positions


def _permutation(count: int, *place: int | str) -> np.ndarray:
    """RandomState, because NumPy promises that its stream never changes."""
    return np.random.RandomState(derive_seed(*place) % 2**32).permutation(count)
