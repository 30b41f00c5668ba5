"""The decision between challenger and champion."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ttest_rel

from fewstep.evaluation.results import Evidence
from fewstep.registry import Rules, decide
from fewstep.registry.gate import noise

RULES = Rules(first={"kid": 0.2, "fid": 50.0, "recall": 0.3})


def evidence(kid=(0.05, 0.06, 0.07), fid=5.0, recall=0.7, speed=900.0, **changes):
    values = {"fid_x": [fid] * 3, "kid_x": list(kid), "recall_x": [recall] * 3}
    measured = {"data_sha256": "d" * 64, "extractor_sha256": "e" * 64, "count": 400, "seeds": [0, 1, 2], "nfe": 1}
    found = Evidence.from_json({**measured, "values": values, **changes})
    return replace(found, images_per_second=speed)


def lower(by, spread=0.0):
    """KID lower than the champion's, by more on one seed and less on another."""
    return [k - by + s for k, s in zip((0.05, 0.06, 0.07), (-spread, 0.0, spread), strict=True)]


@pytest.mark.parametrize(
    ("challenger", "promoted", "words"),
    [
        (evidence(lower(0.02)), True, "kid_x is 0.04 (from 0.03 to 0.05), the champion's kid_x is 0.06"),
        (evidence(lower(0.02, spread=0.01)), True, "the noise of the difference 0.017"),
        (evidence(lower(0.02, spread=0.02)), False, "0.034; kid_x is not lower by more than the noise"),
        (evidence(lower(-0.02)), False, "kid_x is 0.08 (from 0.07 to 0.09), the champion's kid_x is 0.06"),
        (evidence(), False, "kid_x is not lower by more than the noise"),
        (evidence(lower(0.02), recall=0.62), False, "; recall_x is 0.62, and at least 0.63 is asked"),
        (evidence(lower(0.02), recall=0.64), True, ""),
        (evidence(lower(0.02), speed=600.0), False, "; images_per_second is 600, and at least 630 is asked"),
        (evidence(lower(0.02), fid=50.0), True, ""),
        (evidence(lower(0.02), seeds=[0, 1]), False, "over 2 seeds, and at least 3"),
        (evidence([0.01, 0.01, float("nan")]), False, "no numbers: kid_x"),
    ],
)
def test_the_challenger_has_to_win_by_more_than_noise_and_to_keep_the_rest(challenger, promoted, words):
    decision, reason = decide(challenger, evidence(), RULES)
    assert decision == promoted, reason
    assert words in reason
    assert "at 1 NFE, over 3 seeds of 400" in reason or not words or "seeds, and" in words or "numbers" in words


def test_the_noise_is_students_t_of_the_paired_differences():
    """A challenger that is better by exactly the noise has p = 1 - confidence."""
    rng = np.random.RandomState(0)
    champion, other = rng.randn(5), rng.randn(5)
    gap = noise(list(other), list(champion), 0.9)
    shifted = other - (other - champion).mean() - gap
    assert ttest_rel(shifted, champion, alternative="less").pvalue == pytest.approx(0.1)


def test_fid_decides_where_there_are_many_samples():
    many, worse = evidence(count=50_000), evidence(lower(0.02), fid=6.0, count=50_000)
    assert decide(worse, evidence(count=50_000), RULES) != decide(evidence(lower(0.02), fid=6.0), evidence(), RULES)
    promoted, reason = decide(worse, many, RULES)
    assert not promoted
    assert "fid_x is 6" in reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_sha256": "f" * 64}, "data hash differs (ffff"),
        ({"extractor_sha256": "f" * 64}, "extractor differs"),
        ({"count": 50}, "sample count differs (50 here, 400 there)"),
        ({"seeds": [1, 2, 3]}, "set of seeds differs ([1, 2, 3] here, [0, 1, 2] there)"),
        ({"nfe": 2}, "NFE differs (2 here, 1 there)"),
    ],
)
def test_what_was_measured_differently_is_not_compared(change, words):
    promoted, reason = decide(evidence(lower(0.02), **change), evidence(), RULES)
    assert not promoted
    assert words in reason


@pytest.mark.parametrize(
    ("challenger", "rules", "promoted", "words"),
    [
        (evidence(), RULES, True, "asked is kid_x of at most 0.2 and recall_x of at least 0.3"),
        (evidence([0.1, 0.2, 0.4]), RULES, False, "; kid_x is 0.2333, and at most 0.2 is asked"),
        (evidence(recall=0.1), RULES, False, "; recall_x is 0.1, and at least 0.3 is asked"),
        (evidence(), Rules(first={"fid": 9.0}), False, "give promotion.first.kid"),
        (evidence(fid=9.0, count=10_000), Rules(first={"fid": 9.0}), True, "fid_x of at most 9"),
        (evidence(values={"wasserstein": [0.1] * 3}), Rules(first={"wasserstein": 0.2, "recall": 1.0}), True, "0.2"),
        (evidence(values={"speed": [1.0] * 3}), RULES, False, "no score decides"),
    ],
)
def test_a_first_champion_meets_absolute_thresholds(challenger, rules, promoted, words):
    decision, reason = decide(challenger, None, rules)
    assert decision == promoted
    assert words in reason


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"first": {"kit": 1.0}}, "Did you mean 'kid'"),
        ({"nfe": 0}, "at least 1"),
        ({"confidence": 1.0}, "confidence must be at least 0.5 and below 1, got 1.0"),
        ({"keep_speed": 2.0}, "keep_speed must be between 0 and 1, got 2.0"),
    ],
)
def test_rules_that_cannot_be(rule, words):
    with pytest.raises(ValueError, match=words):
        Rules(**rule)
