"""The figures in a line of progress that are not of the loss."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from fewstep.models.model import SavedModel
from fewstep.training import watching
from fewstep.training.loop import Training, train
from fewstep.training.watching import Lost, flops_of_a_sample

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
NUMBERS = {"images": 64, "batch_size": 16, "progress_every": 16, "pictures_every": 32, "checkpoint_every": 32}


@pytest.fixture
def job(digits, small_job):
    return small_job("teacher", digits, "denoising", NETWORK, NUMBERS)


def test_seconds_add_up_by_what_they_were_lost_to():
    lost = Lost()
    for what in ("data", "pictures", "data"):
        with lost.to(what):
            pass
    assert list(lost.seconds) == ["data", "pictures"] and all(seconds > 0 for seconds in lost.seconds.values())


@pytest.mark.slow
def test_the_arithmetic_is_a_steps_and_counting_it_changes_nothing(job, tmp_path):
    training, other = (Training(job, tmp_path / name) for name in ("counted", "other"))
    found = flops_of_a_sample(training)
    with FlopCounterMode(display=False) as counter:
        other.make_step()
    assert found * training.settings.batch_size == counter.get_total_flops()
    assert all(p.grad is None for p in training.step_module.parameters())
    training.make_step()
    assert all(torch.equal(tensor, other.state()[name]) for name, tensor in training.state().items())


@pytest.mark.slow
def test_lines_of_progress_tell_arithmetic_memory_and_what_was_waited_for(job, tmp_path, monkeypatch):
    monkeypatch.setattr(watching, "SETTLED", 0.0)
    train(job, tmp_path)
    first, *_, last = (json.loads(line) for line in (tmp_path / "progress.jsonl").read_text().splitlines())
    assert first["tflops"] > 0 and first["peak_memory_gib"] > 0.01 and first["seconds_lost_to_data"] >= 0
    assert {name for name in last if "lost" in name} == {
        f"seconds_lost_to_{what}" for what in ("data", "pictures", "checkpoints")
    }


@pytest.mark.slow
@pytest.mark.parametrize("method", ["moment_matching", "consistency_mid_training"])
def test_the_arithmetic_of_samples_that_belong_together_is_counted_by_groups(method, digits, small_job, tmp_path):
    network = NETWORK | {"second_time": method == "moment_matching"}
    teacher = small_job("teacher", digits, "denoising", NETWORK, NUMBERS)
    made = SavedModel.open(train(teacher, tmp_path / "teacher")) if method == "consistency_mid_training" else None
    training = Training(small_job("student", digits, method, network, NUMBERS, made), tmp_path / "run")
    assert flops_of_a_sample(training) > 0
