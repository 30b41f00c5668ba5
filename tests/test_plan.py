"""What a run would do and cost."""

import re

import pytest
import torch
from click.testing import CliRunner
from torch.utils.flop_counter import FlopCounterMode

from fewstep import step_cost
from fewstep.cli import main
from fewstep.commands.plan import waiting_threads
from fewstep.step_cost import Cost, LiveBytes, bytes_of_passes, try_steps
from fewstep.training.footprint import state_bytes
from fewstep.training.loop import Training, Worker

pytestmark = pytest.mark.slow


def test_a_trial_counts_what_a_step_costs(digits, small_job, monkeypatch):
    from fewstep.models.model import build_function

    network = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
    training = {"images": 640, "batch_size": 64}
    job = small_job("teacher", digits, "denoising", network, training)
    cost = try_steps(job, 32, Worker(), steps=1, seconds=60)
    function = build_function(job.spec, digits.space)
    with FlopCounterMode(display=False) as counter:
        function(torch.zeros(1, *digits.space.shape), torch.ones(1))
    assert 2 < cost.flops / 32 / counter.get_total_flops() <= 3  # forward, and backward by inputs and by weights
    assert cost.weights == sum(p.numel() for p in function.parameters())
    assert (cost.share, cost.tried, cost.steps) == (32, 32, 1) and cost.seconds > 0
    assert cost.state_bytes == pytest.approx(5 * 4 * cost.weights, rel=0.01)  # weights, gradients, average, Adam's two
    assert cost.sample_bytes > 10 * 4 * 64  # some of its layers' inputs
    timed, threads = step_cost._seconds_of_step, set()
    monkeypatch.setattr(step_cost, "_seconds_of_step", lambda t: threads.add(torch.get_num_threads()) or timed(t))
    with step_cost.cpu_threads(2):
        hurried = try_steps(job, 32, Worker(), seconds=0)
        assert threads == {1} and torch.get_num_threads() == 2  # threads would wait for each other on a busy machine
    assert (hurried.tried, hurried.flops) == (1, pytest.approx(cost.flops, rel=0.01))


METHODS = {"denoising": {}, "continuous_consistency": {"from_data": True}, "consistency_training": {}}
UNET = {"name": "unet", "channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
EDM2 = {"name": "edm2", "channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "head_channels": 8}


@pytest.mark.parametrize("recomputes", [False, True])
@pytest.mark.parametrize("network", [UNET, pytest.param(EDM2, marks=pytest.mark.check)], ids=["unet", "edm2"])
@pytest.mark.parametrize("method", METHODS)
def test_what_plan_says_of_memory_is_what_a_training_has_at_most(
    method, network, recomputes, digits, small_job, tmp_path
):
    """Of two micro-batches, so that there are gradients while activations are made, as with several workers."""
    numbers = {"images": 640, "batch_size": 32, "micro_batch_size": 16}
    job = small_job("it", digits, {"name": method, **METHODS[method]}, network, numbers)
    worker = Worker(recomputes=recomputes)
    training = Training(job, tmp_path, worker)
    training.make_step()
    frozen = sum(t.nbytes for t in training.state().values())
    with LiveBytes() as live:
        training.make_step()
    at_once, of_each = bytes_of_passes(job, worker)
    predicted = state_bytes(job) + at_once + 16 * of_each
    assert predicted == pytest.approx(frozen + live.most, rel=0.1)


def test_the_smallest_gpu_that_holds_it():
    cost = Cost(0, 1, 0.0, 0.0, state_bytes=2**29, pass_bytes=2**29, sample_bytes=2**30, steps=1, tried=1)
    assert [cost.gpu(samples) for samples in (1, 7, 20, 100, 1000)] == [8, 12, 24, 141, None]


@pytest.mark.slow
def test_plan_says_what_would_run(here):
    command = ["plan", "--env=test", "--params=recipe=cd,student.training.learning_rate=3e-4", "--steps=1"]
    result = CliRunner().invoke(main, command)
    assert result.exit_code == 0, result.output
    assert "ingest    no inputs -> " in result.output
    assert "distill   images (made before), teacher (made before) -> student" in result.output
    assert re.search(r"\nscores\n  \d+ rows of [\d,]+ samples for each of 1 seeds: [\d,]+ passes", result.output)
    given = "--params=recipe=cd,student.training.learning_rate=0.0003"
    ingest = f"kedro run --env=test --pipelines=ingest {given} reads them"
    assert f"\ndata\n  not ingested yet (name patches, count 256, side 16): {ingest}" in result.output
    assert "student.training.learning_rate: 0.0003 (base: 0.001)" in result.output
    assert result.output.count(" weights") == result.output.count("fits on a GPU of 8 GiB") == 2  # teacher and student
    assert not list(here.glob("data/**/*.npy")) and not (here / "runs").exists()
    wrong = CliRunner().invoke(main, ["plan", "--params=recipe=cdd"])
    assert wrong.exit_code == 1 and "Did you mean 'cd'" in wrong.output


def test_a_teacher_of_another_network_is_planned_anew(here, finished_model):
    finished_model(0).save(here / "data/06_models/test/teacher")
    result = CliRunner().invoke(main, ["plan", "--env=test", "--steps=1"])
    assert result.exit_code == 0, result.output
    assert "The teacher that is there has another network" in result.output and "\nteacher: unet" in result.output


def test_threads_that_wait_for_each_other_are_told_of():
    (told,) = waiting_threads(2, together=3.0, alone=0.05, steps=2500)
    assert "launch.threads=1) takes 0.05 seconds a step, 2.08 minutes in all" in told
    assert list(waiting_threads(2, together=0.03, alone=0.05, steps=2500)) == []
