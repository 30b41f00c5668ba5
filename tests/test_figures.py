"""The figures that the main job and the comparison promise, held to their committed scores."""

import pytest


def test_one_evaluation_scores_at_most_22_percent_of_the_teachers_nine(committed_metrics):
    student, teacher = committed_metrics["cd"], committed_metrics["teacher"]
    assert student["fid_digits/nfe_01"] <= 0.22 * teacher["fid_digits/nfe_09"]


def test_a_second_evaluation_does_no_harm(committed_metrics):
    student = committed_metrics["cd"]
    assert student["fid_digits/nfe_02"] <= student["fid_digits/nfe_01"]


@pytest.fixture
def methods(committed_leaderboard):
    """{recipe: {NFE: its score}}, means over three seeds with their intervals; the teacher's too."""
    board = committed_leaderboard
    assert board["score"] == "fid_digits" and not board["provisional"]
    found = {m["recipe"]: {int(nfe): s["fid_digits"] for nfe, s in m["scores"].items()} for m in board["methods"]}
    return {**found, "teacher": {row["nfe"]: row["scores"]["fid_digits"] for row in board["reference"]}}


@pytest.mark.parametrize("recipe", ["cd", "ect"])
def test_two_evaluations_score_at_most_a_third_of_the_teachers_nine(recipe, methods):
    assert methods[recipe][2]["interval"][1] <= methods["teacher"][9]["interval"][0] / 3


@pytest.mark.parametrize("recipe", ["ct", "ict"])
def test_from_data_alone_every_number_of_evaluations_beats_the_teachers_nine(recipe, methods):
    highest = max(score["interval"][1] for score in methods[recipe].values())
    assert highest < methods["teacher"][9]["interval"][0]


@pytest.mark.parametrize("nfe", [1, 2, 4])
@pytest.mark.parametrize(("better", "worse"), [("cd", "pd"), ("ict", "ct")])
def test_a_method_beats_the_one_that_it_improves_on(better, worse, nfe, methods):
    assert methods[better][nfe]["interval"][1] < methods[worse][nfe]["interval"][0]


def test_a_second_evaluation_is_no_worse_for_any_method_but_the_baseline(methods):
    """No worse than the interval of the first: the score is a mean over seeds."""
    worse = {
        name for name, scores in methods.items() if name != "teacher" and scores[2]["mean"] > scores[1]["interval"][1]
    }
    assert worse <= {"pd"}
