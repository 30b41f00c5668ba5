"""Which rows are for training, and where each row is stored."""

import numpy as np

from fewstep.diffusion.randomness import derive_seed
from fewstep.support.errors import InvalidInput


def stratified_split(labels: np.ndarray, heldout: float, seed: int) -> np.ndarray:
    """bool [N]: the held-out rows, the share `heldout` of all and, to within one row, of each label.

    A label of which every row would be held out keeps one for training. Raises ValueError where a side would be empty.
    """
    _check_share(len(labels), heldout)
    order = _permutation(len(labels), "split", seed)
    by_label = order[np.argsort(labels[order], kind="stable")]
    quota = np.floor(np.arange(len(labels) + 1) * heldout + 0.5)
    chosen = np.zeros(len(labels), bool)
    chosen[by_label[np.diff(quota) > 0]] = True
    names, first = np.unique(labels[by_label], return_index=True)
    chosen[by_label[first[np.isin(names, untrained(labels, chosen))]]] = False
    if not chosen.any():
        chosen[_spare_row(labels, by_label)] = True
    return chosen


def untrained(labels: np.ndarray, heldout: np.ndarray) -> np.ndarray:
    """The labels of which no row is for training, sorted."""
    named = labels[labels >= 0]
    return np.setdiff1d(named, labels[~heldout])


def stored_positions(heldout: np.ndarray, seed: int) -> np.ndarray:
    """[N]: where each row is stored, training rows first, in random order on both sides."""
    order = _permutation(len(heldout), "order", seed)
    stored = order[np.argsort(heldout[order], kind="stable")]
    positions = np.empty_like(stored)
    positions[stored] = np.arange(len(stored))
    return positions


def _spare_row(labels: np.ndarray, by_label: np.ndarray) -> int:
    """A row of the largest class. Raises ValueError where no class has two."""
    names, counts = np.unique(labels, return_counts=True)
    if counts.max() < 2:
        raise InvalidInput(
            f"Each of the {len(names):,} classes has one row, which it keeps for training, so nothing can be held out. "
            "Join classes, or read the data without labels (data.source.label_column=none)."
        )
    return int(by_label[labels[by_label] == names[counts.argmax()]][0])


def _check_share(count: int, heldout: float) -> None:
    """Raise ValueError where all rows, or none, would be held out."""
    if count < 2:
        raise InvalidInput(f"The data have {count} row: at least 2 are needed, one for training and one held out.")
    if not 0 < int(np.floor(count * heldout + 0.5)) < count:
        least, most = 0.6 / count, 1 - 0.6 / count
        raise InvalidInput(
            f"A held-out share of {heldout} of {count} rows leaves one side empty: set data.heldout between "
            f"{least:.3g} and {most:.3g}."
        )


def _permutation(count: int, *place: int | str) -> np.ndarray:
    """RandomState, because NumPy promises that its stream never changes."""
    return np.random.RandomState(derive_seed(*place) % 2**32).permutation(count)
