"""CTM's discriminator in the loop: switched on late, with an optimiser of its own, resumed to the bit."""

from dataclasses import replace

import pytest
import torch

from fewstep.models.model import SavedModel
from fewstep.training.loop import Training, train
from fewstep.training.optimizer import RAdam

pytestmark = pytest.mark.slow

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "dropout": 0.2}
TINY = {"images": 128, "batch_size": 16, "labels": True, "optimizer": "radam"}
CTM = {"name": "consistency_trajectory", "solver_steps": 2, "gan": True, "gan_start": 0.5, "gan_channels": 8}


@pytest.fixture(scope="module")
def job(digits, tmp_path_factory, small_job):
    first = small_job("teacher", digits, "denoising", NETWORK, TINY | {"images": 32})
    teacher = SavedModel.open(train(first, tmp_path_factory.mktemp("teacher")))
    start = {"start": "teacher", "start_new": ("embed.second",)}
    return small_job("ctm", digits, CTM, NETWORK | {"second_time": True}, TINY, teacher, **start)


def steps(training: Training, count: int) -> Training:
    for _ in range(count):
        training.make_step()
    return training


@pytest.mark.parametrize("stopped_at", [2, 4, 6])
def test_a_run_stopped_before_at_or_after_the_switch_ends_in_the_same_bits(job, tmp_path, stopped_at):
    whole = steps(Training(job, tmp_path / "whole"), 8)
    broken = steps(Training(job, tmp_path / "broken"), stopped_at)
    broken.save()
    steps(broken, 1)  # lost
    state, again = whole.state(), steps(Training(job, tmp_path / "broken"), 8 - stopped_at).state()
    assert state.keys() == again.keys() and all(torch.equal(state[k], again[k]) for k in state)
    parts = {key.split("/")[0] for key in state}
    assert {"target", "discriminator", "optimizer.discriminator"} <= parts


def test_weights_by_the_gradients_of_a_batch_are_not_made_of_its_pieces(job, tmp_path):
    training = replace(job.recipe.training, micro_batch_size=8)
    pieces = Training(replace(job, recipe=replace(job.recipe, training=training)), tmp_path)
    with pytest.raises(ValueError, match="micro_batch_size must be 0 .*, got 8: .*depend on each other"):
        pieces.make_step()


def test_the_discriminator_starts_late_with_its_own_numbers(job, tmp_path):
    training = Training(job, tmp_path)
    before = {k: v.clone() for k, v in training.networks.modules["discriminator"].state_dict().items()}
    steps(training, 4)
    judge, optimizer = training.networks.modules["discriminator"], training.optimizers["discriminator"]
    assert all(torch.equal(v, before[k]) for k, v in judge.state_dict().items())
    assert not any(k.startswith("optimizer.discriminator/") for k in training.state())
    training.make_step()
    facts = training.report()
    assert not any(torch.equal(p, before[n]) for n, p in judge.named_parameters() if n.startswith("features"))
    (group,) = optimizer.param_groups
    assert isinstance(optimizer, RAdam) and group["betas"] == (0.5, 0.9) and group["lr"] == 2e-3
    assert facts["learning_rate"] == pytest.approx(1e-3 / 2), "the student's decays"
    assert training.optimizers["student"].param_groups[0]["betas"] == (0.9, 0.999)
