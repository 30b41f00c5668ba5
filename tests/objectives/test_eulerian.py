"""AYF's Eulerian distillation: the exact map of Gaussian data, and the weak teacher. float64."""

import pytest
import torch
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.losses.tangents import normalised
from fewstep.networks.dual import jvp
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.eulerian_distillation import EulerianDistillation
from fewstep.preconditioning import build_preconditioner

DATA, SIZE, PROGRESS = Gaussian(0.0, 0.5), 64, Progress(9, 10, 9, 10)


class ExactJump(nn.Module):
    """The network with which the trajectory wrapper's jump is the exact one of DATA, scaled.

    G scales x by the ratio of the deviations, so (G - s / t x) / (1 - s / t) is g = c_skip x + c_out F.
    """

    c_noise = "log"

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, u, c_noise, labels=None, second=None):
        sigma, last = ((4 * condition).exp()[:, None] for condition in (c_noise, second))
        deviation, end = (sigma**2 + 0.25).sqrt(), (last**2 + 0.25).sqrt()
        # (end / deviation - last / sigma) / (1 - last / sigma), without its 0/0 where last is sigma
        kept = 0.25 * (sigma + last) / (deviation * (end * sigma + last * deviation))
        return self.scale * (kept - 0.25 / deviation**2) * deviation**2 / (0.5 * sigma) * u


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


def loss_of(objective, student, strong=DATA.denoiser, weak=DATA.denoiser, progress=PROGRESS):
    x0 = DATA.std * torch.randn(SIZE, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    networks = Networks(student, student, strong, build_distance("l2"), {}, earlier=weak)
    return objective(networks, Batch(x0), progress, Float64(0, 0, SIZE, slice(0, SIZE)))


@pytest.fixture
def student():
    return build_preconditioner({"name": "trajectory"}, ExactJump())


def test_the_tangent_vanishes_at_the_exact_map(student):
    whole = EulerianDistillation(tangent_share=1.0)
    x, sigma, last = torch.randn(4, 3).double(), torch.tensor([0.3, 2.0, 9.0, 70.0]).double(), torch.tensor(0.1)
    last = last.double().expand(4)
    torch.testing.assert_close(student(x, sigma, sigma_next=last), DATA.flow(x, sigma, last))
    assert loss_of(whole, student).max() < 1e-14
    student.network.scale.data += 0.1
    assert loss_of(whole, student).min() > 1e-10


def test_a_weak_teacher_that_equals_the_strong_one_changes_nothing(student):
    student.network.scale.data += 0.2
    losses = [loss_of(EulerianDistillation(autoguidance=strength), student) for strength in (1.0, 3.0)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-15)
    other = loss_of(EulerianDistillation(autoguidance=3.0), student, weak=Gaussian(0.3, 0.6).denoiser)
    assert (other - losses[0]).abs().max() > 1e-4


def test_guidance_moves_the_velocity_away_from_the_weak_teachers(student):
    """By as much as the two differ, times the strength less 1."""
    seen = []

    class Student(nn.Module):
        def derivative(self, x, sigma, last, denoised, labels):
            seen.append((x, sigma, denoised))
            return student.derivative(x, sigma, last, denoised, labels)

        def velocity(self, *points):
            return student.velocity(*points)

    weak = Gaussian(0.3, 0.6).denoiser
    loss_of(EulerianDistillation(autoguidance=2.5), Student(), weak=weak)
    ((x, sigma, denoised),) = seen
    strong = DATA.denoiser(x, sigma)
    torch.testing.assert_close(denoised - strong, 1.5 * (strong - weak(x, sigma)))


def test_the_gradient_is_that_of_the_papers_loss(student):
    """sign(t - s) f' df/dt / |t - s|, with f the jump in the flow's time and df/dt normalised."""
    objective, network = EulerianDistillation(tangent_share=1.0), student.network
    network.scale.data += 0.2
    loss_of(objective, student).sum().backward()
    x0 = DATA.std * torch.randn(SIZE, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    rng = Float64(0, 0, SIZE, slice(0, SIZE))
    sigma, last = (level.double() for level in objective.levels(rng))
    x = x0 + sigma[:, None] * rng.normal((3,))
    t, s = sigma / (1 + sigma), last / (1 + last)

    def jump(z, t):
        level = t / (1 - t)
        return student(z / (1 - t)[:, None], level, sigma_next=last) * (1 - s)[:, None]

    z = x / (1 + sigma)[:, None]
    velocity = (x - DATA.denoiser(x, sigma)) / sigma[:, None] - DATA.denoiser(x, sigma)
    output, total = jvp(jump, (z, t), (velocity, torch.ones_like(t)))
    expected = torch.autograd.grad((output / (t - s)[:, None] * normalised(total, 0.1)).sum(), network.scale)[0]
    torch.testing.assert_close(network.scale.grad * 3 / 2, expected, rtol=1e-6, atol=0)


def test_the_tangent_is_warmed(student):
    student.network.scale.data += 0.2
    cold, warm = (loss_of(EulerianDistillation(warmup=0.5), student, progress=Progress(s, 10, s, 10)) for s in (0, 9))
    assert (cold - warm).abs().max() > 1e-4
    plain = EulerianDistillation(tangent_share=0.0)
    torch.testing.assert_close(cold, loss_of(plain, student))


@pytest.mark.parametrize("wrapper", ["trajectory", "euler_trajectory"])
def test_a_jump_has_its_average_velocity_and_the_denoiser_the_flows(wrapper, randomised):
    from fewstep.networks import build_network

    network = build_network({"name": "mlp", "channels": 8, "num_blocks": 1, "second_time": True}, (3,)).double()
    function = build_preconditioner({"name": wrapper}, randomised(network, std=0.5))
    x, sigma = torch.randn(5, 3).double(), torch.rand(5).double() + 1
    last = sigma * torch.tensor([0.1, 0.5, 0.9, 0.01, 0.3]).double()
    t, s = (sigma / (1 + sigma))[:, None], (last / (1 + last))[:, None]
    jump = (1 - s) * function(x, sigma, sigma_next=last)
    torch.testing.assert_close((1 - t) * x - (t - s) * function.average_velocity(x, sigma, last), jump)
    here = function.average_velocity(x, sigma, sigma)
    torch.testing.assert_close(here, function.velocity(x, sigma, function.denoiser(x, sigma)))
