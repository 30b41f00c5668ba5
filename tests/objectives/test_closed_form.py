"""Losses at the exact solution of Gaussian data, float64."""

import pytest
import torch
from torch import nn

from onestep.diffusion.distances import build_distance
from onestep.diffusion.gaussian import Gaussian
from onestep.diffusion.randomness import StepRandomness
from onestep.objectives import Batch, Networks, Progress
from onestep.objectives.consistency_distillation import ConsistencyDistillation
from onestep.objectives.denoising import Denoising

SIZE = 1024
DATA = Gaussian(mean=0.1, std=0.5)
PROGRESS = Progress(0, 10, 0, 10)


class Function(nn.Module):
    """A function of (x, sigma, labels) as a network that is scaled and shifted a little."""

    def __init__(self, function, sigma_data=0.5):
        super().__init__()
        self.function, self.sigma_data = function, sigma_data
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, sigma, labels=None):
        return self.scale * self.function(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


def loss_of(objective, student, teacher=None, distance="l2"):
    x0 = DATA.mean + DATA.std * torch.randn(SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    networks = Networks(student, student, teacher, build_distance(distance), {})
    return objective(networks, Batch(x0), PROGRESS, Float64(0, 0, SIZE, slice(0, SIZE)))


@pytest.mark.parametrize(
    ("solver", "distance", "exponent"), [("heun", "l2", 6), ("euler", "l2", 4), ("heun", "l1", 3), ("euler", "l1", 2)]
)
def test_the_loss_of_cd_at_the_solution_falls_with_the_order_of_the_teachers_step(solver, distance, exponent):
    """One step's error is O(h^(order + 1)); L2 squares it. Four doublings, since levels drawn differ between grids."""
    student, teacher = Function(DATA.consistency(0.002)), Function(DATA.denoiser)
    losses = [
        loss_of(
            ConsistencyDistillation(num_levels=n, solver=solver, distance=distance), student, teacher, distance
        ).mean()
        for n in (81, 1281)
    ]
    assert torch.log2(losses[0] / losses[1]).item() / 4 == pytest.approx(exponent, abs=0.15)


def test_cd_sees_levels_uniformly_and_never_the_boundary():
    seen = []

    class Watching(Function):
        def forward(self, x, sigma, labels=None):
            seen.append(sigma)
            return super().forward(x, sigma)

    loss_of(ConsistencyDistillation(num_levels=5), Watching(DATA.consistency(0.002)), Function(DATA.denoiser))
    target_levels, student_levels = seen
    assert torch.equal(
        student_levels.unique().flip(0), target_levels.unique().flip(0).roll(1).where(torch.arange(4) > 0, 80)
    )
    assert student_levels.min() > 0.002 and target_levels.min() == 0.002
    counts = [int((student_levels == level).sum()) for level in student_levels.unique()]
    assert max(counts) - min(counts) < 6 * (SIZE / 4) ** 0.5


def test_no_gradient_reaches_the_target_or_the_teacher():
    student, target = Function(DATA.consistency(0.002)), Function(DATA.consistency(0.002))
    teacher = Function(DATA.denoiser)
    x0 = torch.randn(8, 2, dtype=torch.float64)
    networks = Networks(student, target, teacher, build_distance("l2"), {})
    loss = ConsistencyDistillation()(networks, Batch(x0), PROGRESS, Float64(0, 0, 8, slice(0, 8)))
    loss.sum().backward()
    assert student.scale.grad is not None and target.scale.grad is None and teacher.scale.grad is None


def test_the_denoiser_of_the_data_minimises_the_denoising_loss():
    student = Function(DATA.denoiser)
    loss = loss_of(Denoising(), student)
    assert loss.shape == (SIZE,)
    gradients = torch.stack([torch.autograd.grad(part, student.scale, retain_graph=True)[0] for part in loss])
    gradient, spread = gradients.mean(), gradients.std()
    assert abs(gradient) < 4 * spread / SIZE**0.5
    student.scale.data += 0.1
    assert loss_of(Denoising(), student).mean() > loss.mean()


def test_the_denoising_weight_makes_an_untrained_edm_loss_one():
    """Karras et al. 2022: lambda c_out^2 = 1, so F = 0 has the loss E[(target)^2] = 1 at every level."""

    class Zero(Function):
        def forward(self, x, sigma, labels=None):
            return self.scale * 0.25 / (sigma[:, None] ** 2 + 0.25) * x

    centred = Gaussian(mean=0.0, std=0.5)
    x0 = centred.std * torch.randn(20_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    zero = Zero(None)
    loss = Denoising()(
        Networks(zero, zero, None, None, {}), Batch(x0), PROGRESS, Float64(0, 0, 20_000, slice(0, 20_000))
    )
    assert loss.mean().item() == pytest.approx(1, rel=0.02)
