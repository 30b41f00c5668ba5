"""The interval of a score."""

import numpy as np
import pytest
from scipy.stats import sem, t

from fewstep.evaluation.interval import interval, reach


def test_the_interval_is_students_t():
    values = list(np.random.RandomState(0).randn(4))
    assert interval(values) == pytest.approx(t.interval(0.95, 3, np.mean(values), sem(values)))


def test_intervals_hold_the_truth_as_often_as_they_say():
    drawn = np.random.RandomState(0).randn(2000, 3)
    held = [low < 0 < high for low, high in map(interval, drawn.tolist())]
    assert np.mean(held) == pytest.approx(0.95, abs=0.015)  # three times the deviation of 2000 draws


def test_one_value_and_values_that_are_no_numbers_have_no_interval():
    assert interval([1.0]) is None
    assert interval([1.0, float("nan")]) is None
    assert reach([2.0, 2.0, 2.0], 0.9) == 0
