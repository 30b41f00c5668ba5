"""What a training may cost."""

import json

import pytest

from fewstep import budget
from fewstep.budget import Budget, with_budget
from fewstep.launch import LaunchSettings
from fewstep.training.job import Job

HERE = LaunchSettings(workers=0)
JOB = Job("cd", "data", "d" * 64, {}, {}, {"name": "denoising"}, {"images": 9, "batch_size": 8})


@pytest.mark.parametrize(("unit", "amount", "images"), [("images", 100, 96), ("images", 1, 8), ("steps", 5, 40)])
def test_images_and_steps_are_counted(unit, amount, images, tmp_path):
    job = with_budget(JOB, Budget(unit, amount), tmp_path / "ledger.json", HERE)
    assert job.training == {"images": images, "batch_size": 8}
    assert not (tmp_path / "ledger.json").exists()


def test_passes_are_those_of_the_network_by_one_sample(tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "passes_of_a_sample", lambda job, device: 6.0)
    job = with_budget(JOB, Budget("passes", 4 * 8 * 6.0), tmp_path / "ledger.json", HERE)
    assert job.training["images"] == 4 * 8 and not (tmp_path / "ledger.json").exists()


def test_seconds_are_turned_into_steps_once_and_for_all(tmp_path, monkeypatch, capsys):
    ledger, trials = tmp_path / "runs" / "ledger.json", iter([0.5, 9.0])
    monkeypatch.setattr(budget, "seconds_per_step", lambda job, launch, seconds: next(trials))
    first = with_budget(JOB, Budget("seconds", 10), ledger, HERE)
    assert first.training["images"] == 20 * 8
    assert capsys.readouterr().out == "cd: timing steps for about 0.5 s\n"
    assert with_budget(JOB, Budget("seconds", 10), ledger, HERE) == first
    assert not capsys.readouterr().out, "nothing is timed twice"
    assert with_budget(first, Budget("seconds", 5), ledger, HERE).training["images"] == 10 * 8
    assert list(json.loads(ledger.read_text()).values()) == [0.5]
    assert with_budget(JOB, Budget("seconds", 90), ledger, LaunchSettings(workers=2)).training["images"] == 10 * 8


@pytest.mark.parametrize(
    ("given", "message"), [(("second", 3), "Did you mean 'seconds'"), (("steps", 0), "amount is 0: it is above 0")]
)
def test_a_wrong_budget_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        Budget(*given)
