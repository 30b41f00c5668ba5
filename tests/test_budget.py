"""What a training may cost."""

import json
from dataclasses import replace

import pytest

from fewstep import budget
from fewstep.budget import Budget, with_budget
from fewstep.launch import LaunchSettings

HERE = LaunchSettings(workers=0)


@pytest.fixture(scope="module")
def job(digits, small_job):
    return small_job("cd", digits, "denoising", {"name": "unet"}, {"images": 9, "batch_size": 8})


@pytest.mark.parametrize(("unit", "amount", "images"), [("images", 100, 96), ("images", 1, 8), ("steps", 5, 40)])
def test_images_and_steps_are_counted(job, unit, amount, images, tmp_path):
    found = with_budget(job, Budget(unit, amount), tmp_path / "ledger.json", HERE)
    assert found == replace(job, recipe=job.recipe.trained_for(images)) and found.recipe.training.images == images
    assert not (tmp_path / "ledger.json").exists()


def test_passes_are_those_of_the_network_by_one_sample(job, tmp_path, monkeypatch):
    monkeypatch.setattr(budget, "passes_of_a_sample", lambda job, device: 6.0)
    found = with_budget(job, Budget("passes", 4 * 8 * 6.0), tmp_path / "ledger.json", HERE)
    assert found.recipe.training.images == 4 * 8 and not (tmp_path / "ledger.json").exists()


def test_seconds_are_turned_into_steps_once_and_for_all(job, tmp_path, monkeypatch, capsys):
    ledger, trials = tmp_path / "runs" / "ledger.json", iter([0.5, 9.0])
    monkeypatch.setattr(budget, "seconds_per_step", lambda job, launch, seconds: next(trials))
    first = with_budget(job, Budget("seconds", 10), ledger, HERE)
    assert first.recipe.training.images == 20 * 8
    assert capsys.readouterr().out == "cd: timing steps for about 0.5 s\n"
    assert with_budget(job, Budget("seconds", 10), ledger, HERE) == first
    assert not capsys.readouterr().out, "nothing is timed twice"
    assert with_budget(first, Budget("seconds", 5), ledger, HERE).recipe.training.images == 10 * 8
    assert list(json.loads(ledger.read_text()).values()) == [0.5]
    assert with_budget(job, Budget("seconds", 90), ledger, LaunchSettings(workers=2)).recipe.training.images == 10 * 8


@pytest.mark.parametrize(
    ("given", "message"), [(("second", 3), "Did you mean 'seconds'"), (("steps", 0), "amount must be above 0, got 0")]
)
def test_a_wrong_budget_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        Budget(*given)
