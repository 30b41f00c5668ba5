"""Losses at the exact solution of Gaussian data, float64."""

import pytest
import torch
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import karras_levels, lognormal_intervals
from fewstep.diffusion.randomness import StepRandomness
from fewstep.diffusion.solvers import euler_step
from fewstep.losses.distances import build_distance
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.consistency_distillation import ConsistencyDistillation
from fewstep.objectives.consistency_training import ConsistencyTraining
from fewstep.objectives.denoising import Denoising
from fewstep.objectives.easy_consistency_tuning import EasyConsistencyTuning
from fewstep.objectives.improved_consistency_training import ImprovedConsistencyTraining
from fewstep.objectives.progressive_distillation import ProgressiveDistillation
from fewstep.preconditioning import build_preconditioner

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


class Watching(Function):
    """A function that remembers what it is called with."""

    def __init__(self, function):
        super().__init__(function)
        self.seen = []

    def forward(self, x, sigma, labels=None):
        self.seen.append((x, sigma))
        return super().forward(x, sigma)


def loss_of(objective, student, teacher=None, distance="l2", progress=PROGRESS):
    x0 = DATA.mean + DATA.std * torch.randn(SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    networks = Networks(student, student, teacher, build_distance(distance), {})
    return objective(networks, Batch(x0), progress, Float64(0, 0, SIZE, slice(0, SIZE)))


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


CD, CT = ConsistencyDistillation(num_levels=5), ConsistencyTraining(start_levels=5, end_levels=5)


@pytest.mark.parametrize("objective", [CD, CT])
def test_cd_and_ct_see_levels_uniformly_and_never_the_boundary(objective):
    student = Watching(DATA.consistency(0.002))
    loss_of(objective, student, Function(DATA.denoiser))
    target_levels, student_levels = (sigma for _, sigma in student.seen)
    assert torch.equal(student_levels.unique().flip(0), karras_levels(5)[:-1])
    assert torch.equal(target_levels.unique().flip(0), karras_levels(5)[1:])
    counts = [int((student_levels == level).sum()) for level in student_levels.unique()]
    assert max(counts) - min(counts) < 6 * (SIZE / 4) ** 0.5


def test_ict_draws_neighbours_lognormally_and_divides_by_their_gap():
    student = Watching(DATA.consistency(0.002))
    loss = loss_of(ImprovedConsistencyTraining(), student, distance="l1")
    (x_next, target_levels), (x, student_levels) = student.seen
    grid = karras_levels(11)
    index = torch.searchsorted(-grid, -student_levels)
    assert torch.equal(grid[index], student_levels) and torch.equal(grid[index + 1], target_levels)
    expected = SIZE * lognormal_intervals(grid, -1.1, 2.0)
    assert ((index.bincount(minlength=10) - expected).abs() < 5 * expected.sqrt() + 3).all()
    bare = (student(x, student_levels) - student(x_next, target_levels)).abs().mean(1)
    torch.testing.assert_close(loss, bare / (student_levels - target_levels), rtol=1e-9, atol=0)


@pytest.mark.parametrize("objective", [CT, ImprovedConsistencyTraining(), EasyConsistencyTuning()])
def test_a_pair_has_one_noise(objective):
    student = Watching(DATA.consistency(0.002))
    loss_of(objective, student, progress=Progress(9, 10, 9, 10))
    (x_next, target_levels), (x, student_levels) = student.seen
    noise = (x - x_next) / (student_levels - target_levels)[:, None]
    x0 = x - student_levels[:, None] * noise
    assert noise.std().item() == pytest.approx(1, rel=0.1) and x0.std().item() == pytest.approx(DATA.std, rel=0.1)


def test_the_target_of_ect_is_the_data_where_r_is_zero():
    """At first: a loss of ||D - x0|| / t at low levels, since D(x, 0) = x whatever the network says."""

    class Network(nn.Module):
        def forward(self, x, c_noise, labels=None):
            assert c_noise.isfinite().all()
            return 7 + x

    student = Watching(build_preconditioner({"name": "edm"}, Network()))
    loss = loss_of(EasyConsistencyTuning(), student, distance="l1")
    (x_next, target_levels), (x, student_levels) = student.seen
    low = target_levels == 0
    assert 0.3 < low.double().mean() < 0.9
    data = (student(x, student_levels)[low] - x_next[low]).abs().mean(1) / student_levels[low]
    torch.testing.assert_close(loss[low], data, rtol=1e-12, atol=0)
    assert x_next[low].std().item() == pytest.approx(DATA.std, rel=0.1)


def test_the_weight_of_ect_is_the_gaps_or_edms():
    student = Watching(DATA.consistency(0.002))
    losses = [loss_of(EasyConsistencyTuning(weight=weight), student) for weight in ("gap", "edm")]
    (_, target_levels), (_, levels) = student.seen[:2]
    expected = losses[0] * (levels - target_levels) * (levels**2 + 0.25) / (levels * 0.5) ** 2
    torch.testing.assert_close(losses[1], expected, rtol=1e-12, atol=0)


def composite(steps: int, teacher):
    """The function whose Euler step on a grid of `steps` is two of the teacher's on twice as many."""
    grid = karras_levels(2 * steps + 1)

    def function(x, sigma, labels=None):
        index = torch.searchsorted(-grid, -sigma)
        assert torch.equal(grid[index], sigma) and (index % 2 == 0).all()
        middle, last = grid[index + 1], grid[index + 2]
        x_last = euler_step(teacher, euler_step(teacher, x, sigma, middle), middle, last)
        return x - sigma[:, None] * (x_last - x) / (last - sigma)[:, None]

    return function


@pytest.mark.parametrize(("step", "steps"), [(0, 4), (4, 2), (9, 1)])
def test_pds_loss_at_two_steps_of_the_teacher_is_zero(step, steps):
    objective, progress = ProgressiveDistillation(start_steps=4), Progress(step, 10, step, 10)
    assert objective.num_steps(progress) == steps
    student, teacher = Watching(composite(steps, DATA.denoiser)), Function(DATA.denoiser)
    assert loss_of(objective, student, teacher, progress=progress).max() < 1e-18
    assert torch.equal(student.seen[0][1].unique().flip(0), karras_levels(steps + 1)[:-1])
    student.scale.data += 0.1
    x, sigma = student.seen[0]
    weighted = (0.1 * student.function(x, sigma)).square().mean(1) / sigma.clamp_max(1) ** 2
    torch.testing.assert_close(loss_of(objective, student, teacher, progress=progress), weighted, rtol=1e-9, atol=1e-15)


def test_pd_at_the_teachers_own_grid_is_not_zero():
    objective = ProgressiveDistillation(start_steps=4)
    assert loss_of(objective, Function(DATA.denoiser), Function(DATA.denoiser)).mean() > 1e-6


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
