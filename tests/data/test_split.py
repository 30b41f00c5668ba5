"""The split: a function of the seed, fair to every label."""

import numpy as np
import pytest

from fewstep.data.split import stored_positions, stratified_split, untrained

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


@pytest.mark.parametrize(
    ("count", "share", "words"),
    [
        (1, 0.25, "The data have 1 row: at least 2 are needed, one for training and one held out"),
        (2, 0.1, "leaves one side empty: set data.heldout between 0.3 and 0.7"),
        (7, 0.99, "leaves one side empty: set data.heldout between 0.0857 and 0.914"),
    ],
)
def test_a_side_without_rows_is_refused(count, share, words):
    with pytest.raises(ValueError, match=words):
        stratified_split(np.full(count, -1), share, seed=0)


def test_every_class_keeps_a_row_for_training():
    labels = np.concatenate([np.arange(300), np.full(40, 300)])
    held = stratified_split(labels, 0.25, seed=0)
    assert untrained(labels, held).tolist() == []
    assert 8 <= held.sum() <= 12 and (labels[held] == 300).all()
    fives = np.repeat(np.arange(40), 5)
    held = stratified_split(fives, 0.9, seed=0)
    assert 155 <= held.sum() <= 160 and set(np.bincount(fives[~held])) <= {1, 2}
    few = np.array([*range(20), 20, 20])
    held = stratified_split(few, 0.05, seed=0)
    assert held.sum() == 1 and few[held] == [20]
    with pytest.raises(ValueError, match="Each of the 300 classes has one row.*label_column=none"):
        stratified_split(np.arange(300), 0.25, seed=0)


def test_labels_that_only_held_out_rows_have_are_told():
    assert untrained(np.array([0, 1, 2, -1]), np.array([False, True, False, True])).tolist() == [1]


def test_training_rows_are_stored_first_and_mixed():
    held = np.arange(100) % 4 == 0
    positions = stored_positions(held, seed=0)
    assert sorted(positions) == list(range(100))
    assert positions[~held].max() == 74
    assert (np.diff(positions[~held]) < 0).mean() > 0.3
    assert (positions != stored_positions(held, seed=1)).any()
