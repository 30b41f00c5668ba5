"""The split: a function of the seed, fair to every label."""

import numpy as np
import pytest

from fewstep.data.split import stored_positions, stratified_split

LABELS = np.random.RandomState(0).choice(5, 501, p=[0.5, 0.3, 0.1, 0.08, 0.02])


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5, 0.9])
def test_each_label_gives_its_share_to_within_one_row(share):
    held = stratified_split(LABELS, share, seed=3)
    for label in range(5):
        here = np.equal(LABELS, label)
        assert abs(held[here].sum() - share * here.sum()) <= 1
    assert abs(held.sum() - share * 501) <= 0.5


def test_the_seed_alone_decides():
    first, again, other = (stratified_split(LABELS, 0.25, seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.2
    unlabelled = np.full(100, -1)
    assert stratified_split(unlabelled, 0.25, 0).sum() == 25


def test_a_side_without_rows_is_refused():
    with pytest.raises(ValueError, match="one side is empty"):
        stratified_split(np.array([0, 1]), 0.1, seed=0)


def test_training_rows_are_stored_first_and_mixed():
    held = np.arange(100) % 4 == 0
    positions = stored_positions(held, seed=0)
    assert sorted(positions) == list(range(100))
    assert positions[~held].max() == 74
    assert (np.diff(positions[~held]) < 0).mean() > 0.3
    assert (positions != stored_positions(held, seed=1)).any()
