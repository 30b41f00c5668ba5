"""Optimisers: RAdam is the published one, and a flag on the device leaves everything as it is."""

import pytest
import torch

from fewstep.training.ema import Average, step_unless
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.optimizer import build_optimizer, load_optimizer_state, optimizer_state


def network() -> torch.nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        return torch.nn.Linear(5, 3).double()


def pull(module: torch.nn.Module, step: int) -> None:
    """A gradient that depends on the step and on the weights."""
    for number, parameter in enumerate(module.parameters()):
        drawn = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(100 * step + number)).double()
        parameter.grad = 0.1 * drawn + parameter.detach()


@pytest.mark.parametrize("decay", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.9, 0.999])
def test_radam_is_torchs_before_and_after_its_variance_is_rectified(decay, beta):
    """rho_t passes 5 at the sixth step. The state is taken out and put back on the way."""
    numbers = {"optimizer": "radam", "betas": (0.9, beta), "weight_decay": decay, "learning_rate": 1e-2}
    settings = TrainingSettings(**numbers)
    ours, theirs = network(), network()
    optimizer = build_optimizer(ours, settings)
    reference = torch.optim.RAdam(theirs.parameters(), lr=1e-2, betas=(0.9, beta), weight_decay=decay)
    for step in range(24):
        if step in (3, 12):
            state = optimizer_state(optimizer, ours)
            optimizer = build_optimizer(ours, settings)
            load_optimizer_state(optimizer, ours, state)
        for module in (ours, theirs):
            pull(module, step)
        optimizer.step()
        reference.step()
        for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["adam", "adamw", "radam"])
def test_a_flag_on_the_device_skips_a_step(name):
    module = network()
    optimizer = build_optimizer(module, TrainingSettings(optimizer=name))
    for step in range(2):
        pull(module, step)
        step_unless(torch.tensor(0.0), optimizer, 1e-2)
    weights = [p.clone() for p in module.parameters()]
    state = {key: value.clone() for key, value in optimizer_state(optimizer, module).items()}
    for parameter in module.parameters():
        parameter.grad = torch.full_like(parameter, torch.nan)
    step_unless(torch.tensor(1.0), optimizer, 1e-2)
    assert all(torch.equal(a, b) for a, b in zip(module.parameters(), weights, strict=True))
    assert all(torch.equal(value, state[key]) for key, value in optimizer_state(optimizer, module).items())


def test_an_average_moves_towards_the_weights_unless_it_is_told_not_to():
    module, slow = network(), network()
    with torch.no_grad():
        module.weight += 1
    before = slow.weight.detach().clone()
    average = Average(slow)
    average.update(module, 0.75, torch.tensor(0.0))
    torch.testing.assert_close(slow.weight, 0.75 * before + 0.25 * module.weight)
    after = slow.weight.detach().clone()
    with torch.no_grad():
        module.weight.fill_(torch.nan)
    average.update(module, 0.75, torch.tensor(1.0))
    assert torch.equal(slow.weight, after) and slow.weight.grad is None
