"""The leaderboard: its order, its JSON, and the layout before."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from fewstep.evaluation.results import (
    Evaluation,
    ExtractorId,
    Floor,
    Measurement,
    Row,
    Score,
    TrainingBudget,
)
from fewstep.models.spec import Provenance
from fewstep.reporting.leaderboard import Leaderboard, Method, leaderboard, leaderboard_table
from fewstep.reporting.plots import cost_plot, ladder_plot

MEASURED = Measurement("digits", "d" * 64, "train", ExtractorId("digits", "e" * 64), 400, (0, 1, 2))
FIDS = {"cd": 5.0, "ict": 3.0, "ect": 4.0}


def row(model, sampler, nfe, fid, reverse=False):
    """A row whose recall would rank the other way round."""
    scores = {"recall_digits": Score((fid / 10,) * 3), "fid_digits": Score((fid, fid + 1, fid + 2))}
    return Row(model, sampler, nfe, (80.0,) * nfe, dict(reversed(scores.items())) if reverse else scores, 9.0)


def finished(name, teacher):
    made = Provenance(images=640, seconds=12.0, parameters=99, training={"batch_size": 32}, teacher_sha256=teacher)
    return SimpleNamespace(spec=SimpleNamespace(name=name, provenance=made), sha256=name)


def contest(reverse=False):
    rows = [row(name, "multistep", nfe, fid / nfe, reverse) for name, fid in FIDS.items() for nfe in (2, 1)]
    rows.append(row("teacher", "heun", 9, 2.0, reverse))
    models = {name: name for name in (*FIDS, "teacher")}
    floor = Floor(400, rows[0].scores)
    return Evaluation(MEASURED, "fid_digits", tuple(rows), floor, None, models, TrainingBudget("images", 640))


def board(reverse=False):
    students = [finished("cd", "teacher"), finished("ict", None), finished("ect", None)]
    return leaderboard(contest(reverse), students, finished("teacher", None))


@pytest.mark.parametrize("reverse", [False, True])
def test_the_primary_score_ranks_whatever_the_order_of_the_scores(reverse):
    found = board(reverse)
    assert [method.recipe for method in found.methods] == ["ict", "ect", "cd"]
    assert (found.primary, found.nfes) == ("fid_digits", [1, 2])
    assert [(r.model, r.nfe) for r in found.reference] == [("teacher", 9)]
    assert leaderboard_table(found) == leaderboard_table(board())
    assert "fid_digits 1 NFE" in leaderboard_table(found)


def test_the_cost_of_a_student_is_that_of_all_its_stages():
    """Of an earlier model that it did not start from, such as a weak teacher, nothing is counted."""
    second = finished("cd", "teacher")
    stage = {"name": "ect", "sha256": "e", **second.spec.provenance.to_json()}
    costs = []
    for start in ("earlier", "teacher"):
        second.spec.provenance = replace(second.spec.provenance, earlier=stage, start=start)
        costs.append(Method.of(second, contest()))
    assert [(cost.images, cost.steps, cost.seconds) for cost in costs] == [(1280, 40, 24.0), (640, 20, 12.0)]


def test_a_leaderboard_is_read_as_it_was_written():
    facts = json.loads(json.dumps(board().to_json()))
    assert Leaderboard.from_json(facts) == board()
    assert cost_plot(Leaderboard.from_json(facts)).width > 600 and ladder_plot(contest()).width > 600


def test_the_committed_leaderboard_is_read(committed_leaderboard):
    found = Leaderboard.from_json(committed_leaderboard)
    assert found.primary == "fid_digits" and found.nfes == [1, 2, 4]
    assert [m.recipe for m in found.methods] == [m["recipe"] for m in committed_leaderboard["methods"]]
    assert found.methods[0].rows[1].scores["fid_digits"].interval == pytest.approx(
        committed_leaderboard["methods"][0]["scores"]["2"]["fid_digits"]["interval"]
    )


def test_scores_without_a_budget_make_no_leaderboard():
    with pytest.raises(ValueError, match="one budget"):
        leaderboard(replace(contest(), budget=None), [finished("cd", None)], finished("teacher", None))
