"""Forced weight normalisation (EDM2): after each step, whatever the method, and exactly so after a kill."""

import pytest
import torch

from fewstep.networks.magnitude import Forced
from fewstep.training.loop import Training

NETWORK = {"name": "edm2", "channels": 8, "num_blocks": 1, "head_channels": 8, "dropout": 0.2}
TINY = {"images": 160, "batch_size": 16, "labels": True, "optimizer": "adam", "learning_rate": 0.1}
METHODS = {
    "denoising": {"name": "denoising", "log_variance": True},
    "consistency training": {"name": "consistency_training", "start_ema": 0.9},
}


@pytest.fixture
def training_of(digits, small_job, tmp_path):
    """A training by a method, in the folder of a name."""

    def make(method: str, folder: str = "run") -> Training:
        return Training(small_job("one", digits, METHODS[method], NETWORK, TINY), tmp_path / folder)

    return make


def lengths(module) -> torch.Tensor:
    """The root mean square of what goes into each output of each forced layer, in that of a layer just forced."""
    layers = [m for m in module.modules() if isinstance(m, Forced)]
    return torch.cat([m.weight.detach().double().flatten(1).square().mean(1).sqrt() for m in layers]) * (1 + 1e-4)


@pytest.mark.parametrize("method", METHODS)
def test_every_step_leaves_trained_weights_at_unit_length(method, training_of):
    training = training_of(method)
    for _ in range(3):
        training.make_step()
    for name, module in training.step_module.trained.items():
        assert (lengths(module) - 1).abs().max() < 1e-5, name
    # The average, and a slow target, are means of the weights before that, and stay as they come.
    for mean in {training.average, training.networks.target} - {training.networks.student}:
        assert (lengths(mean) - 1).abs().max() > 1e-4


@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_ends_in_the_same_bits(method, training_of):
    whole, broken = training_of(method), training_of(method, "broken")
    for _ in range(4):
        whole.make_step()
    for _ in range(2):
        broken.make_step()
    broken.save()
    resumed = training_of(method, "broken")
    assert resumed.step == 2
    for _ in range(2):
        resumed.make_step()
    state, again = whole.state(), resumed.state()
    assert state.keys() == again.keys() and all(torch.equal(state[key], again[key]) for key in state)


def test_the_log_variance_is_trained_and_is_the_levels_own(training_of):
    training = training_of("denoising")
    module = training.networks.modules["log_variance"]
    c_noise = torch.linspace(-1, 1, 9)
    before = module(c_noise)
    training.make_step()
    after = module(c_noise)
    assert not torch.allclose(before, after, atol=1e-3) and after.std() > 0.01
