"""Drift between two sets of features."""

import pytest
import torch

from fewstep.evaluation.differing_sets import PARTS, drift
from fewstep.evaluation.scores import kernel_distance


def features(seed, count=400, mean=0.0):
    return mean + torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def test_the_interval_of_equal_distributions_holds_0_as_often_as_it_says():
    found = [drift(features(2 * seed, 100), features(2 * seed + 1, 100)).interval for seed in range(50)]
    above = sum(interval[0] > 0 for interval in found)
    outside = sum(interval[0] > 0 or interval[1] < 0 for interval in found)
    assert above <= 4 and outside <= 7  # 1.25 and 2.5 are expected


def test_a_shift_is_found_and_its_distance_is_that_of_the_whole_sets():
    x, y = features(0), features(1, 457, mean=0.4)
    found = drift(x, y)
    assert len(found.values) == PARTS and found.interval[0] > 0
    assert found.interval[0] < kernel_distance(x, y[:400]) < found.interval[1]


def test_too_few_pictures_are_refused():
    with pytest.raises(ValueError, match="at least 100 pictures on both sides, got 99"):
        drift(features(0), features(1, 99))
