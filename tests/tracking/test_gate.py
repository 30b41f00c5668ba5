"""The decision between challenger and champion."""

import pytest

from onestep.tracking import decide
from onestep.tracking.gate import flat_scores, judged_by


def test_scores_have_one_name_for_each_nfe(scores):
    assert flat_scores(scores(26.0), "cd") == {
        "fid_digits/nfe_01": 26.0,
        "fid_digits/nfe_02": 25.0,
        "memorisation/nfe_01": 0.0,
        "memorisation/nfe_02": 0.0,
        "sampling_images_per_second/nfe_01": 900.0,
        "sampling_images_per_second/nfe_02": 900.0,
        "fid_digits/floor": 19.0,
    }
    teacher = flat_scores(scores(26.0), "teacher")
    assert (teacher["fid_digits/nfe_09"], teacher["fid_digits/euler_nfe_01"]) == (119.0, 300.0)
    with pytest.raises(ValueError, match=r"none of 'ect': they are of cd, teacher"):
        flat_scores(scores(26.0), "ect")


def test_points_are_judged_by_the_wasserstein_distance(scores):
    rows = [{"model": "cd", "sampler": "multistep", "nfe": 1, "images_per_second": 1.0}]
    rows[0]["scores"] = {"wasserstein": {"mean": 0.1, "values": [0.1]}}
    judged = judged_by(scores(0.0, extractor=None, rows=rows), "cd")
    assert (judged["score"], judged["value"], judged["extractor_sha256"]) == ("wasserstein/nfe_01", 0.1, None)


def test_a_model_that_was_not_evaluated_at_one_nfe_is_not_judged(scores):
    facts = scores(26.0)
    facts["rows"] = [row for row in facts["rows"] if row["nfe"] != 1]
    with pytest.raises(ValueError, match="evaluate it at 1 NFE"):
        judged_by(facts, "cd")


@pytest.mark.parametrize(
    ("challenger", "champion", "promoted", "words"),
    [
        (26.0, None, True, "there was no champion"),
        (26.0, 30.0, True, "26 beats the champion's 30"),
        (30.0, 26.0, False, "30 does not beat the champion's 26"),
        (26.0, 26.0, False, "does not beat"),
        (float("nan"), None, False, "nan"),
        (float("inf"), 30.0, False, "inf"),
    ],
)
def test_the_better_one_is_champion(scores, challenger, champion, promoted, words):
    champion = champion and judged_by(scores(champion), "cd")
    decision, reason = decide(judged_by(scores(challenger), "cd"), champion)
    assert decision == promoted
    assert words in reason


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"data_sha256": "f" * 64}, "data hash differs (ffff"),
        ({"extractor": {"name": "digits", "sha256": "f" * 64}}, "extractor differs"),
        ({"count": 50}, "sample count differs (50 here, 100 there)"),
    ],
)
def test_what_was_measured_differently_is_not_compared(scores, change, words):
    promoted, reason = decide(judged_by(scores(1.0, **change), "cd"), judged_by(scores(30.0), "cd"))
    assert not promoted
    assert words in reason


def test_a_champion_that_someone_else_registered_is_not_compared(scores):
    promoted, reason = decide(judged_by(scores(1.0), "cd"), {})
    assert not promoted
    assert "None there" in reason
