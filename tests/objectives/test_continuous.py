"""The continuous-time methods on Gaussian data, whose exact solution has no residual: float64."""

import math

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.guidance import guided
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.tangents import normalised, tangent_loss
from fewstep.networks import build_network
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.continuous_consistency import ContinuousConsistency
from fewstep.objectives.flow_anchored_consistency import FlowAnchoredConsistency, anchor_loss
from fewstep.preconditioning import build_preconditioner

SIZE = 512
DATA = Gaussian(mean=0.1, std=0.3)
START, END = Progress(0, 100, 0, 100), Progress(99, 100, 99, 100)


class Exact(nn.Module):
    """The network whose wrapped function is the exact flow to the data, plus `bend`; its anchor the exact velocity."""

    def __init__(self, bend: float = 0.0):
        super().__init__()
        self.bend = nn.Parameter(torch.tensor(bend, dtype=torch.float64))

    def forward(self, u, c_noise, labels=None, second=None):
        sigma = (4 * c_noise).exp()[:, None]
        radius = (sigma**2 + 0.25).sqrt()
        x = u * radius
        marginal = (DATA.std**2 + sigma**2).sqrt()
        if second is None:
            clean = DATA.mean + (x - DATA.mean) * DATA.std / marginal
        else:
            clean = (DATA.std**2 * x + sigma**2 * DATA.mean) / marginal**2
        return (clean - 0.25 / radius**2 * x) / (sigma * 0.5 / radius) + self.bend * u.sin()


class Teacher(nn.Module):
    def forward(self, x, sigma, labels=None):
        return DATA.denoiser(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


class Zero(nn.Module):
    def forward(self, c_noise):
        return torch.zeros_like(c_noise)


def student(kind: str, bend: float = 0.0):
    return build_preconditioner({"name": kind}, Exact(bend))


def loss_of(objective, function, progress=END):
    x0 = DATA.mean + DATA.std * torch.randn(SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    networks = Networks(function, function, Teacher(), None, {"weighting": Zero()})
    return objective(networks, Batch(x0), progress, Float64(0, 0, SIZE, slice(0, SIZE)))


def test_scds_residual_at_the_solution_is_zero_when_the_tangent_is_whole():
    scd = ContinuousConsistency(warmup=0.5)
    assert loss_of(scd, student("trigflow")).max() < 1e-18
    assert loss_of(scd, student("trigflow"), START).mean() > 1e-3, "without the derivative it is another equation"
    assert loss_of(scd, student("trigflow", bend=0.1)).mean() > 1e-3


def test_facms_residual_at_the_solution_is_zero():
    """Both parts: that of f by the derivative, and the anchor's."""
    facm = FlowAnchoredConsistency()
    assert loss_of(facm, student("flow")).max() < 1e-9  # a cosine is 1 up to the square root of rounding
    assert loss_of(facm, student("flow", bend=0.1)).mean() > 1e-3
    assert loss_of(FlowAnchoredConsistency(from_data=True), student("flow")).mean() > 1e-3, "the data's is not the mean"


@pytest.mark.parametrize("kind", ["trigflow", "flow"])
def test_the_data_s_velocity_has_a_tangent_that_is_zero_in_the_mean_only(kind):
    """E[g | x_t] = 0 at the solution: x0 given x_t is Gaussian, so its mean is a quadrature."""
    function, sigma = student(kind), torch.tensor([0.05, 0.4, 3.0], dtype=torch.float64)
    x = DATA.mean + (DATA.std**2 + sigma**2).sqrt()[:, None] * torch.tensor([[-1.3, 0.4]], dtype=torch.float64)
    spread = (DATA.std * sigma / (DATA.std**2 + sigma**2).sqrt())[:, None]
    places, weights = (torch.from_numpy(a) for a in hermegauss(8))

    def tangent(place):
        x0 = DATA.denoiser(x, sigma) + spread * place
        if kind == "trigflow":
            return function.tangent(x, sigma, x0)[1]
        flow, derivative = function.derivative(x, sigma, x0)
        return (function.velocity(x, sigma, x0) + derivative - flow).detach()

    values = torch.stack([tangent(place) for place in places])
    mean = torch.einsum("p,p...->...", weights / math.sqrt(2 * math.pi), values)
    assert mean.abs().max() < 1e-10 and values.abs().max() > 0.1


def test_the_normalised_tangent_and_the_weight_are_the_papers():
    generator = torch.Generator().manual_seed(0)
    output, tangent = torch.randn(2, 4, 3, 5, 5, dtype=torch.float64, generator=generator)
    output.requires_grad_()
    weight = torch.randn(4, dtype=torch.float64, generator=generator)
    norm = tangent.flatten(1).norm(dim=1)
    g = normalised(tangent, 0.1)
    torch.testing.assert_close(g.flatten(1).norm(dim=1), norm / (norm + 0.1), rtol=1e-12, atol=0)
    of_a_pixel = normalised(tangent, 0.1, "rms").flatten(1).square().mean(1).sqrt()
    torch.testing.assert_close(of_a_pixel, norm / 75**0.5 / (norm / 75**0.5 + 0.1), rtol=1e-12, atol=0)
    loss = tangent_loss(output, g, weight)
    torch.testing.assert_close(loss, weight.exp() / 75 * g.square().flatten(1).sum(1) - weight, rtol=1e-12, atol=0)
    gradient = torch.autograd.grad(loss.sum(), output)[0]
    torch.testing.assert_close(gradient, -2 * weight.exp().view(4, 1, 1, 1) / 75 * g, rtol=1e-12, atol=1e-15)


def test_a_step_along_the_gradient_brings_f_nearer_to_the_solution():
    """From a bent student, by sCD, by sCT in expectation and by FACM."""
    for objective, kind in (
        (ContinuousConsistency(warmup=0), "trigflow"),
        (ContinuousConsistency(from_data=True, warmup=0), "trigflow"),
        (FlowAnchoredConsistency(), "flow"),
    ):
        for bend in (0.3, -0.3):
            function = student(kind, bend)
            gradient = torch.autograd.grad(loss_of(objective, function).mean(), function.network.bend)[0]
            assert gradient * bend > 0, objective


def test_the_weight_learns_to_make_every_level_s_loss_one(randomised):
    """At its optimum e^w E[error] = 1: its gradient vanishes there."""
    scd = ContinuousConsistency(warmup=0)
    weighting = scd.modules(None, 1.0)["weighting"]
    assert not weighting(torch.linspace(-1, 1, 7)).any(), "it begins as 0"
    randomised(weighting, std=0.5)
    assert weighting(torch.linspace(-1, 1, 7)).std() > 0.1
    error, w = torch.tensor([0.02, 5.0]), torch.tensor([-math.log(0.02), -math.log(5.0)], requires_grad=True)
    tangent = error.sqrt()[:, None]
    assert torch.autograd.grad(tangent_loss(torch.zeros(2, 1), tangent, w).sum(), w)[0].abs().max() < 1e-6


def test_the_anchor_s_cosine_is_of_each_pixels_channels_and_of_a_grey_sample_whole():
    generator = torch.Generator().manual_seed(0)
    colour, grey = (torch.randn(2, 4, c, 5, 5, dtype=torch.float64, generator=generator) for c in (3, 1))
    for (flow, velocity), units in (
        (colour, lambda v: v.movedim(1, -1).reshape(4, 25, 3)),
        (grey, lambda v: v.reshape(4, 1, 25)),
    ):
        a, b = units(flow), units(velocity)
        cosine = ((a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))).mean(1)
        expected = (flow - velocity).square().mean((1, 2, 3)) + 1 - cosine
        torch.testing.assert_close(anchor_loss(flow, velocity), expected, rtol=1e-12, atol=0)


def test_guidance_goes_beyond_what_the_label_says_in_one_pass_of_two_batches():
    calls = []

    def denoiser(x, sigma, labels):
        calls.append(len(x))
        return sigma[:, None] * x + labels.sum(1, keepdim=True)

    x, sigma, labels = torch.ones(2, 1), torch.tensor([0.5, 2.0]), torch.tensor([[0.0, 1.0], [0.0, 0.0]])
    assert guided(denoiser, x, sigma, labels, 3.0).flatten().tolist() == [3.5, 2], "a row without a label has none"
    assert guided(denoiser, x, sigma, labels, 1.0).flatten().tolist() == [1.5, 2]
    assert calls == [4, 2], "no guidance costs nothing"


@pytest.mark.parametrize(
    ("network", "objective", "message"),
    [
        ({}, {}, r"network\.second_time must be true: this method needs a second time input"),
        (
            {"second_time": True},
            {"expanded_interval": True},
            r"network\.second_time must be false: this method has no use for a second time input",
        ),
        (
            {},
            {"expanded_interval": True},
            r"network\.c_noise must be 'angle' if expanded_interval is true",
        ),
    ],
)
def test_facm_refuses_a_network_without_the_anchors_condition(network, objective, message):
    function = build_preconditioner({"name": "flow"}, build_network({"name": "mlp", **network}, (2,)))
    with pytest.raises(ValueError, match=message):
        FlowAnchoredConsistency(**objective).check_student(function)
