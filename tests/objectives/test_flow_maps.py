"""Flow maps on Gaussian data, whose jumps are the exact flow: float64."""

import math
from dataclasses import replace

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.level_pairs import flow_time, level_at, level_between, lognormal_pairs
from fewstep.diffusion.levels import per_sample
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.jumps import Jumps, loss_by_share, two_jumps
from fewstep.networks import build_network
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.lagrangian_self_distillation import LagrangianSelfDistillation
from fewstep.objectives.mean_flow import MeanFlow
from fewstep.objectives.shortcut import Shortcut, dyadic
from fewstep.objectives.solution_flow import SolutionFlow
from fewstep.preconditioning import build_preconditioner

SIZE = 256
DATA = Gaussian(mean=0.1, std=0.3)
PROGRESS = Progress(5, 10, 5, 10)
NETWORK = {"name": "mlp", "channels": 8, "num_blocks": 2, "second_time": True}


class Exact(nn.Module):
    """The network whose jumps are the exact flow, plus `bend`."""

    c_noise = "log"

    def __init__(self, bend: float = 0.0):
        super().__init__()
        self.bend = nn.Parameter(torch.tensor(bend, dtype=torch.float64))

    def forward(self, u, c_noise, labels=None, second=None):
        sigma, sigma_next = ((4 * condition).exp().reshape(-1, 1) for condition in (c_noise, second))
        deviation, spread = (sigma**2 + 0.25).sqrt(), (DATA.std**2 + sigma**2).sqrt()
        centred = u * deviation - DATA.mean
        # g of x' = kept x + (1 - kept) g for the exact x', with (spread - spread') / (sigma - sigma') multiplied out
        slope = (sigma + sigma_next) / (spread + (DATA.std**2 + sigma_next**2).sqrt())
        clean = DATA.mean + centred * (1 - sigma / spread * slope)
        return (clean - 0.25 / deviation**2 * u * deviation) / (sigma * 0.5 / deviation) + self.bend * u.sin()


class Teacher(nn.Module):
    def forward(self, x, sigma, labels=None):
        return DATA.denoiser(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()

    def uniform(self):
        return super().uniform().double()


def rng(step=0, rows=slice(0, SIZE)):
    return Float64(0, step, SIZE, rows)


def flow_map(bend: float = 0.0):
    return build_preconditioner({"name": "trajectory"}, Exact(bend))


def clean():
    generator = torch.Generator().manual_seed(1)
    return DATA.mean + DATA.std * torch.randn(SIZE, 2, dtype=torch.float64, generator=generator)


def loss_of(objective, bend=0.0, progress=PROGRESS, student=None):
    student = student or flow_map(bend)
    networks = Networks(student, student, Teacher(), None, objective.modules(student, 1.0))
    return objective(networks, Batch(clean()), progress, rng())


def points(denoised=None, size=SIZE):
    """Jumps from points of the exact flow, to the estimates of the exact denoiser."""
    sigma, sigma_next = lognormal_pairs(MeanFlow(pairs="sorted"), rng())
    x = clean() + sigma[:, None] * rng(1).normal((2,))
    return Jumps(x, sigma, sigma_next, DATA.denoiser(x, sigma) if denoised is None else denoised, None)


def test_the_average_velocity_is_that_of_the_jump_in_the_flow_s_time(randomised):
    """Of any network: z_r = z_t - (t - r) u is the jump G; at r = t it is the flow's own velocity."""
    network = randomised(build_network(NETWORK, (2,)), std=0.5).double()
    for student in (flow_map(), build_preconditioner({"name": "trajectory"}, network)):
        jumps = points()
        u = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma_next)
        gone = per_sample(flow_time(jumps.sigma) - flow_time(jumps.sigma_next), u)
        reached = (jumps.x / (1 + per_sample(jumps.sigma, u)) - gone * u) * (1 + per_sample(jumps.sigma_next, u))
        jump = student(jumps.x, jumps.sigma, sigma_next=jumps.sigma_next)
        torch.testing.assert_close(reached, jump, rtol=1e-10, atol=1e-10)
        own = student.velocity(jumps.x, jumps.sigma, student.denoiser(jumps.x, jumps.sigma))
        still = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma)
        torch.testing.assert_close(still, own, rtol=1e-9, atol=1e-9)


def test_the_derivative_of_dual_layers_is_that_of_torch_func_jvp(randomised):
    """Along (v, 1, 0) in (z, t, r), times t - r."""
    network = randomised(build_network(NETWORK, (2,)), std=0.5).double()
    student, jumps = build_preconditioner({"name": "trajectory"}, network), points()
    output, derivative = student.derivative(jumps.x, jumps.sigma, jumps.sigma_next, jumps.denoised)
    assert output.requires_grad and not derivative.requires_grad
    t, r = flow_time(jumps.sigma), flow_time(jumps.sigma_next)

    def velocity(z, t):
        return student.average_velocity(z / (1 - t)[:, None], level_at(t), jumps.sigma_next)

    tangents = student.velocity(jumps.x, jumps.sigma, jumps.denoised), torch.ones_like(t)
    primal, tangent = torch.func.jvp(velocity, (jumps.x / (1 + jumps.sigma)[:, None], t), tangents)
    torch.testing.assert_close(output, primal, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(derivative, (t - r)[:, None] * tangent, rtol=1e-7, atol=1e-8)
    assert derivative.abs().max() > 0.1


@pytest.mark.parametrize("share", [0.5, 0.2, torch.linspace(0.01, 0.99, SIZE, dtype=torch.float64)])
def test_two_jumps_of_the_exact_flow_are_one(share):
    jumps, student = points(), flow_map()
    middle = level_between(jumps.sigma, jumps.sigma_next, share)
    first = student.average_velocity(jumps.x, jumps.sigma, middle)
    whole = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma_next)
    torch.testing.assert_close(two_jumps(student, jumps, first, share, rng()), whole, rtol=1e-8, atol=1e-8)
    other = two_jumps(flow_map(bend=0.1), jumps, first, share, rng())
    assert (other - whole).abs().max() > 1e-3


SETTINGS = [
    MeanFlow(),
    MeanFlow(pairs="sorted", next_mean=-0.6, flow_share=0.5),
    MeanFlow(error_power=1.0, flow_share=0.0),
    MeanFlow(level_std=8.0, next_std=8.0),  # most at the ends of the noise
]


@pytest.mark.parametrize("objective", SETTINGS)
def test_mean_flow_s_residual_at_the_exact_flow_is_zero(objective):
    assert loss_of(objective).max() < 1e-12
    assert loss_of(objective, bend=0.1).mean() > 1e-2
    assert loss_of(replace(objective, from_data=True)).mean() > 1e-2, "the data's velocity is not the mean"


def test_alpha_leads_from_trajectory_flow_matching_to_mean_flow():
    """At the exact flow: the residual of alpha is that of a difference, of first order in alpha; at 1 it is v - u."""
    whole = MeanFlow(flow_share=0.0, error_power=0.0, clamp=1e6)
    bare = {alpha: loss_of(replace(whole, alpha=alpha)) * alpha for alpha in (1.0, 0.5, 1e-2, 1e-3)}
    jumps = whole.jumps(Networks(flow_map(), flow_map(), Teacher(), None, {}), Batch(clean()), rng())
    u = flow_map().average_velocity(jumps.x, jumps.sigma, jumps.sigma_next)
    v = flow_map().velocity(jumps.x, jumps.sigma, jumps.denoised)
    torch.testing.assert_close(bare[1.0], (u - v).square().sum(1))
    second = two_jumps(flow_map(), jumps, v, 0.5, rng())
    torch.testing.assert_close(bare[0.5], (u - second).square().sum(1))
    ratio = (bare[1e-2].mean() / bare[1e-3].mean()).item()
    assert math.log10(ratio) / 2 == pytest.approx(2, abs=0.1), "alpha times a residual of first order in alpha"


@pytest.mark.parametrize("power", [0.0, 0.5, 0.75, 1.0])
def test_the_gradient_of_a_small_alpha_is_mean_flow_s(power):
    """Whatever the adaptive weight, where the error is far above its constant."""

    def gradient(**more):
        student = flow_map(bend=0.3)
        objective = MeanFlow(error_power=power, error_constant=1e-30, flow_share=0.0, clamp=1e6, **more)
        return torch.autograd.grad(loss_of(objective, student=student).mean(), student.network.bend)[0].item()

    assert gradient(alpha=1e-4) == pytest.approx(gradient(alpha=0.0), rel=2e-2)


def test_a_step_along_mean_flow_s_gradient_brings_the_jumps_nearer_to_the_flow():
    for objective in (MeanFlow(), MeanFlow(from_data=True), MeanFlow(alpha=0.5)):
        for bend in (0.3, -0.3):
            student = flow_map(bend)
            gradient = torch.autograd.grad(loss_of(objective, student=student).mean(), student.network.bend)[0]
            assert gradient * bend > 0, objective


@pytest.mark.parametrize("ratio", [1.0, 0.3])
def test_soflow_at_the_exact_flow_has_a_residual_of_first_order(ratio):
    """The path of the teacher's estimate leaves the flow by a step's square: q falls with the step."""
    squares = []
    for step in (ratio * 1e-2, ratio * 1e-3):
        objective = SolutionFlow(schedule="constant", ratio_end=step, error_power=0.0)
        losses = objective.jump_loss(flow_map(), rng(), step, points())
        squares.append(losses.mean().item())
    assert math.log10(squares[0] / squares[1]) == pytest.approx(2, abs=0.1)


def test_soflow_from_data_has_a_residual_that_is_zero_in_the_mean_as_its_step_goes_to_zero():
    """Of x0 given x, which is Gaussian, by quadrature."""
    objective, jumps = SolutionFlow(), points()
    spread = DATA.std * jumps.sigma / (DATA.std**2 + jumps.sigma**2).sqrt()
    places, weights = (torch.from_numpy(a) for a in hermegauss(8))
    u = flow_map().average_velocity(jumps.x, jumps.sigma, jumps.sigma_next).detach()
    means = []
    for ratio in (1e-2, 1e-4):
        values = []
        for place in places:
            path = flow_map().velocity(jumps.x, jumps.sigma, jumps.denoised + spread[:, None] * place)
            values.append((two_jumps(flow_map(), jumps, path, ratio, rng()) - u) / ratio)
        q = torch.stack(values)
        means.append(torch.einsum("p,p...->...", weights / math.sqrt(2 * math.pi), q).abs().mean().item())
    assert means[1] < 2e-2 * means[0] and q.abs().mean() > 0.1
    assert objective.jump_loss(flow_map(), rng(), 1e-2, points(clean())).mean() > 1e-2


def test_soflow_s_levels_keep_their_gap_and_flow_matching_has_its_own():
    objective = SolutionFlow(flow_share=0.5, flow_mean=1.0, flow_std=0.1, least_gap=1e-3, next_mean=-0.9)
    parts = rng().parted(0.5)
    jumps = objective.jumps(Batch(clean()), parts[0], rng())
    flow, jump = (jumps.at(part) for part in parts)
    assert (flow.sigma.log() - 1).abs().max() < 0.5
    gaps = flow_time(jump.sigma) - flow_time(jump.sigma_next)
    assert gaps.min() >= 1e-3 - 1e-12 and jump.sigma_next.min() >= 0.002 - 1e-9
    assert gaps.min() < 2e-3, "some are as near as they may be"


SHORTCUTS = [Shortcut(steps=16, flow_share=0.0), Shortcut(split="uniform", flow_share=0.0)]


@pytest.mark.parametrize("objective", SHORTCUTS)
def test_shortcuts_of_the_exact_flow_have_no_residual(objective):
    """But for the shortest jumps, which are made of steps of Euler's method."""
    student, parts = flow_map(), rng().parted(0.0)
    jumps, shares = objective.jumps(Batch(clean()), parts[0], rng())
    loss = objective.jump_loss(student, student, rng(), shares, jumps)
    gaps = flow_time(jumps.sigma) - flow_time(jumps.sigma_next)
    whole = flow_time(torch.tensor(80.0)) - flow_time(torch.tensor(0.002))
    shortest = (gaps < 1.5 * whole * 2 / 16) if objective.split == "dyadic" else gaps < 0
    assert loss[~shortest].max() < 1e-16
    if objective.split == "dyadic":
        assert 0.1 < shortest.double().mean() < 0.4 and loss[shortest].min() > 1e-9
    assert objective.jump_loss(flow_map(0.1), flow_map(0.1), rng(), shares, jumps).mean() > 1e-6


def test_dyadic_jumps_have_all_lengths_alike_and_begin_at_multiples_of_them():
    which, where = torch.rand(2, 30_000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first, last = dyadic(which, where, 128)
    lengths = (last - first).log2()
    assert torch.equal(lengths, lengths.round())
    counts = (-lengths).long().bincount()
    assert len(counts) == 7 and (counts / 30_000 - 1 / 7).abs().max() < 0.01
    assert torch.equal((first / (last - first)).round(), first / (last - first))
    assert first.min() == 0 and last.max() == 1


def test_uniform_jumps_have_a_uniform_middle_and_lie_between_the_ends():
    objective = Shortcut(split="uniform")
    jumps, shares = objective.jumps(Batch(clean()), rng().parted(0.0)[0], rng())
    assert (jumps.sigma_next <= jumps.sigma).all() and shares.mean().item() == pytest.approx(0.5, abs=0.1)
    assert jumps.sigma.max() <= 80.01 and jumps.sigma_next.min() >= 0.0019


def test_the_derivative_at_the_end_is_that_of_torch_func_jvp(randomised):
    network = randomised(build_network(NETWORK, (2,)), std=0.5).double()
    student, jumps = build_preconditioner({"name": "trajectory"}, network), points()
    output, derivative = student.end_derivative(jumps.x, jumps.sigma, jumps.sigma_next)
    assert output.requires_grad and not derivative.requires_grad
    t, r = flow_time(jumps.sigma), flow_time(jumps.sigma_next)

    def velocity(r):
        return student.average_velocity(jumps.x, jumps.sigma, level_at(r))

    primal, tangent = torch.func.jvp(velocity, (r,), (torch.ones_like(r),))
    torch.testing.assert_close(output, primal, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(derivative, (t - r)[:, None] * tangent, rtol=1e-7, atol=1e-8)
    assert derivative.abs().max() > 0.1


def test_lsd_s_residual_at_the_exact_flow_is_zero_and_a_step_leads_there():
    objective = LagrangianSelfDistillation(flow_share=0.0)
    assert loss_of(objective).max() < 1e-16
    assert loss_of(objective, bend=0.1).mean() > 1e-4
    for bend in (0.3, -0.3):
        student = flow_map(bend)
        whole = loss_of(LagrangianSelfDistillation(), student=student)
        taught = objective.jump_loss(student, flow_map(), rng(), points())  # its own velocity is as bent as its jumps
        for loss in (whole, taught):
            assert torch.autograd.grad(loss.mean(), student.network.bend)[0] * bend > 0


def test_lsd_s_terminal_velocity_is_the_target_s():
    student, target = flow_map(), flow_map(bend=0.2)
    jumps = points()
    own, slow = (
        LagrangianSelfDistillation().jump_loss(student, network, rng(), jumps).mean() for network in (student, target)
    )
    assert own < 1e-16 and slow > 1e-3
    assert LagrangianSelfDistillation().target_decay(PROGRESS) is None
    assert LagrangianSelfDistillation(target_ema=0.99).target_decay(PROGRESS) == 0.99


def test_pairs_are_lognormal_sorted_or_capped_and_end_with_the_noise():
    draws = StepRandomness(0, 0, 20_000, slice(0, 20_000))
    t, r = (level.log() for level in lognormal_pairs(MeanFlow(), draws))
    assert (r <= t).all() and t.min() >= math.log(0.002) - 1e-6 and t.max() <= math.log(80) + 1e-6
    assert t.median().item() == pytest.approx(-0.6, abs=0.05)
    both = MeanFlow(pairs="sorted", level_mean=-2.0, level_std=2.0, next_mean=-2.0, next_std=2.0)
    t, r = (level.log() for level in lognormal_pairs(both, draws))
    assert (r <= t).all()
    assert torch.cat([t, r]).median().item() == pytest.approx(-2, abs=0.05)
    assert (t - r).mean().item() == pytest.approx(2 * 2 / math.sqrt(math.pi), abs=0.1), "of two normal numbers"


def test_a_share_of_the_rows_is_even_and_does_not_depend_on_the_workers():
    for share in (0.0, 0.25, 0.3, 1.0):
        for step in (0, 1, 7):
            first, second = rng(step).parted(share)
            assert len(first) == pytest.approx(share * SIZE, abs=1)
            assert torch.equal(torch.cat([first, second]).sort().values, torch.arange(SIZE))
            halves = [rng(step, slice(begin, begin + 128)).parted(share)[0] + begin for begin in (0, 128)]
            assert torch.equal(torch.cat(halves), first)
    single = [len(Float64(0, step, 1, slice(0, 1)).parted(0.25)[0]) for step in range(100)]
    assert sum(single) == 25, "batches of one have their turns"


def test_each_part_of_the_rows_has_its_loss_in_their_order():
    jumps = points()
    parts = rng().parted(0.3)
    loss = loss_by_share(jumps, parts, lambda j: -j.sigma, lambda j: j.sigma)
    assert torch.equal(loss.abs(), jumps.sigma) and torch.equal((loss < 0).nonzero().flatten(), parts[0])


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"pairs": "sorted out"}, "pairs must be 'sorted' or 'capped', got 'sorted out'"),
        ({"flow_share": 1.5}, r"flow_share must be between 0 and 1, got 1\.5"),
        ({"alpha": (0.5, 0.5)}, r"alpha must be two shares of the training, such as \[0, 0.8\], got \(0\.5, 0\.5\)"),
        ({"alpha": 2.0}, r"alpha must be between 0 and 1, got 2\.0"),
        (
            {"guided_levels": (0.002, 100.0)},
            r"guided_levels must be two increasing levels between 0\.002 and 80, got \(0\.002, 100\.0\)",
        ),
        ({"from_data": True, "guidance": 2.0}, "guidance must be 1 if from_data is true, since it is the teacher's"),
        ({"next_std": 0.0}, "next_std must be above 0, got 0"),
    ],
)
def test_wrong_constants_of_mean_flow_are_refused(constants, message):
    with pytest.raises(ValueError, match=message):
        MeanFlow(**constants)


@pytest.mark.parametrize(
    ("method", "constants", "message"),
    [
        (SolutionFlow, {"schedule": "cosin"}, "schedule must be 'constant', 'linear', 'cosine' or 'exponential'"),
        (SolutionFlow, {"ratio_end": 0.0}, "ratio_end must be above 0 and at most 1, got 0"),
        (SolutionFlow, {"flow_share": -0.1}, "flow_share must be between 0 and 1, got -0.1"),
        (LagrangianSelfDistillation, {"target_ema": 1.0}, "target_ema must be at least 0 and below 1, got 1"),
        (Shortcut, {"split": "even"}, "split must be 'dyadic' or 'uniform', got 'even'"),
        (Shortcut, {"steps": 100}, "steps must be a power of two, got 100"),
        (Shortcut, {"steps": 1}, "steps must be at least 2, got 1"),
    ],
)
def test_wrong_constants_of_others_are_refused(method, constants, message):
    with pytest.raises(ValueError, match=message):
        method(**constants)


def test_a_network_without_a_second_time_is_refused():
    student = build_preconditioner({"name": "trajectory"}, build_network(NETWORK | {"second_time": False}, (2,)))
    with pytest.raises(ValueError, match=r"network\.second_time must be true: this method needs a second time input"):
        MeanFlow().check_student(student)
