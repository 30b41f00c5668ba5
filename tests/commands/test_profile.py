"""Where the time of a step goes, by `fewstep profile`."""

import json

import pytest
from click.testing import CliRunner

from fewstep.cli import main
from fewstep.training.loop import PHASES, Training
from fewstep.training.profiling import profile_steps

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}


@pytest.mark.slow
def test_a_trace_has_each_phase_of_each_step(digits, small_job, tmp_path):
    job = small_job("teacher", digits, "denoising", NETWORK, {"images": 640, "batch_size": 16})
    found = profile_steps(Training(job, tmp_path), 2, tmp_path / "trace.json")
    names = [event.get("name") for event in json.loads((tmp_path / "trace.json").read_text())["traceEvents"]]
    assert {phase: names.count(phase) for phase in PHASES} == dict.fromkeys(PHASES, 2)
    assert sum(found.phases.values()) == pytest.approx(1) and all(share > 0 for share in found.phases.values())
    assert found.phases["backward"] > found.phases["averages"]  # twice the forward pass, and one pass over the weights
    (_, share, calls), *_ = found.operators
    assert found.samples == 16 and 0 < share < 1 and calls >= 1
    first, *others = found.lines()
    assert first.startswith("a step of 16 samples takes ") and len(others) == len(PHASES) + 3


@pytest.mark.slow
def test_profile_says_where_time_goes_and_leaves_nothing_but_its_trace(here):
    result = CliRunner().invoke(main, ["profile", "ect", "--env=test", "--steps=1", "--out=ect.json"])
    assert result.exit_code == 0, result.output
    assert "ect, on cpu, " in result.output and result.output.rstrip().endswith("the trace is ect.json")
    assert (here / "ect.json").exists() and not list(here.glob("data/**/*.npy")) and not (here / "runs").exists()


def test_a_recipe_that_there_is_not_is_refused(here):
    result = CliRunner().invoke(main, ["profile", "ekt"])
    assert result.exit_code == 1 and "Did you mean 'ect'" in result.output
