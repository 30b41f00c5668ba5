"""What a value must be, in words."""

from dataclasses import dataclass

import pytest

from fewstep.support.checks import (
    above,
    at_least,
    at_most,
    below,
    between,
    check_fields,
    check_value,
    distinct,
    each,
    finite,
    inside,
    instance_of,
    one_of,
    optional,
    power_of_two,
    whole,
    within,
)
from fewstep.support.errors import InvalidInput


@dataclass
class Grid:
    low: float = 1
    high: float = 5


@pytest.mark.parametrize(
    "check, good, bad, words",
    [
        (finite, -3, float("nan"), "x must be finite, got nan"),
        (finite, 0, "3", "x must be a number, got '3'"),
        (finite, 0, True, "x must be a number, got True"),
        (above(0), 0.1, 0, "x must be above 0, got 0"),
        (above(0), 1, float("inf"), "x must be finite, got inf"),
        (at_least(0), 0, -1, "x must be at least 0, got -1"),
        (at_most(2), 2, 3, "x must be at most 2, got 3"),
        (below(1), 0.5, 1, "x must be below 1, got 1"),
        (between(0, 1), 1, 1.5, "x must be between 0 and 1, got 1.5"),
        (between(0, 1, open_low=True), 1, 0, "x must be above 0 and at most 1, got 0"),
        (within(0, 1), 0, 1, "x must be at least 0 and below 1, got 1"),
        (inside(0, 1), 0.5, 0, "x must be above 0 and below 1, got 0"),
        (above("low"), 2, 1, "x must be above low (1), got 1"),
        (within(1, "high"), 4, 5, "x must be at least 1 and below high (5), got 5"),
        (whole(at_least(1)), 1, 1.5, "x must be a whole number, got 1.5"),
        (whole(at_least(1)), 1, 0, "x must be at least 1, got 0"),
        (each(within(0, 1)), (0, 0.9), (0, 1), "x must be at least 0 and below 1 each, got (0, 1)"),
        (each(finite), [1], [], "x must be a list, got []"),
        (distinct, (1, 2), (1, 1), "x must be a list without repetitions, got (1, 1)"),
        (optional(above(0)), None, -1, "x must be above 0, got -1"),
        (instance_of(bool, "true or false"), True, 1, "x must be true or false, got 1"),
        (one_of(True, False, "auto"), "auto", "no", "x must be true, false or 'auto', got 'no'"),
        (power_of_two, 8, 6, "x must be a power of two, got 6"),
    ],
)
def test_a_check_passes_what_is_right_and_says_what_must_be(check, good, bad, words):
    check_value("x", good, check, Grid())
    with pytest.raises(InvalidInput) as caught:
        check_value("x", bad, check, Grid())
    assert str(caught.value) == words
    assert caught.value.field == "x" and caught.value.allowed in words


def test_fields_are_checked_by_their_names():
    check_fields(Grid(), low=above(0), high=above("low"))
    with pytest.raises(InvalidInput, match=r"^high must be above low \(7\), got 5$"):
        check_fields(Grid(low=7), low=above(0), high=above("low"))
