"""The table of a sweep."""

import pytest

from fewstep.reporting.sweep_table import Outcome, grouped, sweep_table, trials_csv


@pytest.fixture
def outcomes(scores):
    """Two rates with two seeds each, the second better, and a third one that diverged."""

    def one(rate, seed, value):
        return Outcome({"student.training.learning_rate": rate}, str(seed), "cd", scores(value), 9.0)

    found = [one("1e-3", 0, 30.0), one("1e-3", 1, 34.0), one("3e-4", 0, 25.0), one("3e-4", 1, 25.0)]
    return [*found, Outcome({"student.training.learning_rate": "1"}, "0", "cd", None, note="the loss is nan")]


def test_the_best_is_first_with_its_spread_over_seeds_and_a_failure_last(outcomes):
    best, second, failed = grouped(outcomes)
    assert best.score(1).mean == 25.0 and failed.score(1) is None
    assert second.score(1).values == (30.0, 34.0) and second.score(1).interval is not None
    lines = sweep_table(outcomes).splitlines()
    head = next(line for line in lines if line.startswith("learning_rate"))
    assert " ".join(head.split()) == "learning_rate seeds fid_digits 1 NFE fid_digits 2 NFE seconds"
    rows = [line for line in lines if line.startswith(("1e-3", "3e-4", "1 "))]
    assert [row.split()[0] for row in rows] == ["3e-4", "1e-3", "1"]
    assert "32.00 ±25.41" in rows[1] and "1: the loss is nan" in lines
    assert "± is half of the 95% interval over the seeds of the training" in lines
    assert any(line.startswith("teacher, heun, 9 NFE") for line in lines)
    assert any(line.startswith("floor: held-out") for line in lines)


def test_programs_get_a_line_for_each_trial(outcomes):
    head, *lines = trials_csv(outcomes).splitlines()
    assert head == "student.training.learning_rate,seed,fid_digits/nfe_01,fid_digits/nfe_02,seconds,note"
    assert lines[0] == "1e-3,0,30.0,29.0,9.0," and lines[-1] == "1,0,,,0.0,the loss is nan"


def test_a_sweep_in_which_all_failed_has_a_table(outcomes):
    assert "the loss is nan" in sweep_table(outcomes[-1:]) and "nan" in trials_csv(outcomes[-1:])
