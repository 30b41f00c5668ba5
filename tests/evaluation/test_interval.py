"""The interval of a score, and what has to agree before scores are compared."""

import numpy as np
import pytest
from scipy.stats import sem, t

from fewstep.evaluation.interval import interval, reach
from fewstep.evaluation.ladder import joined
from fewstep.evaluation.measured import difference


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


def evaluation(**changes):
    facts = {"data_sha256": "d" * 64, "extractor": {"name": "digits", "sha256": "e" * 64}, "split": "train"}
    return {**facts, "count": 400, "seeds": [0, 1, 2], "rows": [{"model": "cd"}], **changes}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_sha256": "f" * 64}, r"the data hash differs \(dddd.* here, ffff.* there\)"),
        ({"extractor": {"name": "digits", "sha256": "f" * 64}}, r"extractor differs \(digits eeee.*, digits ffff"),
        ({"extractor": None}, r"the extractor differs \(digits e* here, None there\)"),
        ({"split": "heldout"}, r"the split differs \(train here, heldout there\)"),
        ({"count": 50}, r"the sample count differs \(400 here, 50 there\)"),
        ({"seeds": [0]}, r"the set of seeds differs \(\[0, 1, 2\] here, \[0\] there\)"),
    ],
)
def test_what_was_measured_differently_is_not_joined(change, words):
    with pytest.raises(ValueError, match=f"scores of cd .here. and of ect .there. do not compare: .*{words}"):
        joined([evaluation(), evaluation(rows=[{"model": "ect"}], **change)])


def test_what_was_measured_alike_is_joined():
    assert difference(evaluation(), evaluation()) is None
    assert len(joined([evaluation(), evaluation()])["rows"]) == 2
