"""TrigFlow and the linear flow are EDM's function in other coordinates; derivatives along a trajectory, float64."""

import math

import pytest
import torch

from fewstep.networks import build_network
from fewstep.preconditioning import build_preconditioner

SIGMA = torch.tensor([0.01, 0.2, 1.0, 9.0, 80.0], dtype=torch.float64)
SPEC = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
CASES = [{"c_noise": "log"}, {"c_noise": "angle", "double_norm": True}]


@pytest.fixture(params=CASES, ids=lambda case: case["c_noise"])
def functions(request, randomised):
    """EDM, TrigFlow and the linear flow of one network."""
    network = randomised(build_network(SPEC | {"second_time": True} | request.param, (1, 8, 8)), std=0.1).double()
    return [build_preconditioner({"name": name}, network) for name in ("edm", "trigflow", "flow")]


@pytest.fixture
def point():
    """x at several levels, and a denoised estimate that the trajectory is made of, as any teacher might give it."""
    noise, x0, denoised = torch.randn(3, 5, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return 0.5 * x0 + SIGMA.view(-1, 1, 1, 1) * noise, SIGMA, 0.3 * denoised


def derivative(function, along, step=1e-7):
    """By central differences. along: of a small number, the arguments."""
    with torch.no_grad():
        return (function(*along(step)) - function(*along(-step))) / (2 * step)


def test_the_wrappers_of_one_network_are_one_function(functions, point):
    edm, trigflow, flow = functions
    x, sigma, _ = point
    torch.testing.assert_close(trigflow(x, sigma), edm(x, sigma), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(flow(x, sigma), edm(x, sigma), rtol=1e-12, atol=1e-14)


def test_trigflow_is_the_papers(functions, point):
    """f = cos t x_t - sin t sigma_data F(x_t / sigma_data, t); the velocity of its own f is sigma_data F."""
    trigflow = functions[1]
    x, sigma, denoised = point
    t = torch.atan(sigma / 0.5).view(-1, 1, 1, 1)
    F = trigflow.flow(x, sigma)
    torch.testing.assert_close(trigflow(x, sigma), t.cos() * (t.cos() * x) - t.sin() * 0.5 * F, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(trigflow.velocity(x, sigma, trigflow(x, sigma)), 0.5 * F, rtol=1e-9, atol=1e-12)
    z = (x - denoised) / sigma.view(-1, 1, 1, 1) * 0.5  # x_t = cos t x0 + sin t z
    expected = t.cos() * z - t.sin() * denoised
    torch.testing.assert_close(trigflow.velocity(x, sigma, denoised), expected, rtol=1e-9, atol=1e-12)


def test_trigflows_tangent_is_cos_t_times_the_derivative_along_the_trajectory(functions, point):
    trigflow = functions[1]
    x, sigma, denoised = point
    t, velocity = torch.atan(sigma / 0.5), trigflow.velocity(x, sigma, denoised)
    cos = t.cos().view(-1, 1, 1, 1)

    def along(step):
        x_t, moved = cos * x + step * velocity, t + step
        return x_t / moved.cos().view(-1, 1, 1, 1), 0.5 * moved.tan()

    flow, tangent = trigflow.tangent(x, sigma, denoised)
    expected = cos * derivative(trigflow, along)
    torch.testing.assert_close(tangent, expected, rtol=1e-5, atol=1e-6)
    assert flow.requires_grad and not tangent.requires_grad
    torch.testing.assert_close(flow, trigflow.flow(x, sigma), rtol=0, atol=0)


def test_the_warmup_leaves_out_what_has_the_networks_derivative(functions, point):
    trigflow = functions[1]
    x, sigma, denoised = point
    cold, half, whole = (trigflow.tangent(x, sigma, denoised, r)[1] for r in (0.0, 0.5, 1.0))
    cos, _ = trigflow.circle(sigma, x)
    expected = -(cos**2) * (0.5 * trigflow.flow(x, sigma) - trigflow.velocity(x, sigma, denoised))
    torch.testing.assert_close(cold, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(half, (cold + whole) / 2, rtol=1e-12, atol=1e-14)


def test_the_linear_flow_is_the_papers(functions, point):
    """f = x_t + (1 - t) F; the velocity of its own f is F; v + (1 - t) dF/dt - F is df/dt."""
    flow = functions[2]
    x, sigma, denoised = point
    t = (1 / (1 + sigma)).view(-1, 1, 1, 1)
    F = flow.flow(x, sigma, flow.c_noise(sigma))
    torch.testing.assert_close(flow(x, sigma), t * x + (1 - t) * F, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(flow.velocity(x, sigma, flow(x, sigma)), F, rtol=1e-9, atol=1e-12)
    velocity = flow.velocity(x, sigma, denoised)
    torch.testing.assert_close(velocity, denoised - (x - denoised) / sigma.view(-1, 1, 1, 1), rtol=1e-9, atol=1e-12)

    def along(step):
        moved = t + step
        return (t * x + step * velocity) / moved, (1 / moved - 1).flatten()

    output, scaled = flow.derivative(x, sigma, denoised)
    torch.testing.assert_close(output, F, rtol=1e-12, atol=1e-14)
    expected = (1 - t) * derivative(lambda x, s: flow.flow(x, s, flow.c_noise(s)), along)
    torch.testing.assert_close(scaled, expected, rtol=1e-5, atol=1e-6)
    total = derivative(flow, along)
    torch.testing.assert_close(velocity + scaled - F, total, rtol=1e-5, atol=1e-5)
    assert output.requires_grad and not scaled.requires_grad


def test_the_anchor_has_a_condition_of_its_own(functions, point):
    flow = functions[2]
    x, sigma, _ = point
    seen = []
    flow.network.register_forward_pre_hook(lambda _, given, more: seen.append((given[1], more)), with_kwargs=True)
    for expanded in (False, True):
        assert not torch.allclose(flow.anchor(x, sigma, expanded=expanded), flow.flow(x, sigma, flow.c_noise(sigma)))
    (time, more), _, (mirrored, none), (own, _) = seen
    assert torch.equal(time, own) and torch.equal(more["second"], own) and none == {}
    assert torch.equal(mirrored, -own)


def test_the_angle_goes_on_beyond_the_data_smoothly(randomised):
    """At the data, t = 1, the flow's condition 2 - t and f's meet."""
    network = randomised(build_network(SPEC | {"c_noise": "angle"}, (1, 8, 8)), std=0.1).double()
    flow = build_preconditioner({"name": "flow"}, network)
    x, sigma = torch.randn(2, 1, 8, 8, dtype=torch.float64), torch.full((2,), 1e-9, dtype=torch.float64)
    torch.testing.assert_close(flow.anchor(x, sigma, expanded=True), flow.flow(x, sigma, flow.c_noise(sigma)))


@pytest.mark.parametrize(
    ("c_noise", "expected"), [("log", lambda s: math.log(s) / 4), ("angle", lambda s: math.atan(s / 0.5))]
)
def test_every_wrapper_tells_the_network_the_time_that_it_was_made_for(c_noise, expected):
    for name in ("edm", "consistency", "trigflow", "flow"):
        network = build_network({"name": "mlp", "channels": 8, "num_blocks": 1, "c_noise": c_noise}, (2,))
        seen = []
        network.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[1]))
        build_preconditioner({"name": name}, network)(torch.randn(2, 2), torch.tensor([0.3, 7.0]))
        assert seen[0].tolist() == pytest.approx([expected(0.3), expected(7.0)], rel=1e-5)
