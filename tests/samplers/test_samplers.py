"""Samplers against the exact flow of Gaussian data, float64."""

import pytest
import torch

from onestep.diffusion.gaussian import Gaussian
from onestep.diffusion.levels import karras_levels
from onestep.diffusion.randomness import SampleRandomness
from onestep.samplers import sample_euler, sample_heun, sample_heun_stochastic, sample_multistep

DATA = Gaussian(mean=0.1, std=0.5)
NOISE = torch.randn(512, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


class Counted:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, x, sigma):
        self.calls += 1
        assert sigma.shape == (len(x),)
        return self.function(x, sigma)


def error(sample, steps):
    x = sample(DATA.denoiser, NOISE, karras_levels(steps))
    sigma = torch.full((512,), 80.0, dtype=torch.float64)
    return (x - DATA.flow(80 * NOISE, sigma, torch.zeros_like(sigma))).abs().max().item()


@pytest.mark.parametrize(("sample", "order"), [(sample_euler, 1), (sample_heun, 2)])
def test_the_slope_of_the_error_is_the_order(sample, order):
    rate = torch.log2(torch.tensor(error(sample, 200) / error(sample, 400))).item()
    assert rate == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize(("sample", "nfe"), [(sample_euler, 5), (sample_heun, 9)])
def test_nfe_is_what_the_docstring_says(sample, nfe):
    denoiser = Counted(DATA.denoiser)
    sample(denoiser, NOISE, karras_levels(5))
    assert denoiser.calls == nfe


def test_the_stochastic_sampler_keeps_the_marginal():
    x = sample_heun_stochastic(DATA.denoiser, NOISE, karras_levels(60), SampleRandomness(0, range(512)), s_noise=1.0)
    assert x.mean().item() == pytest.approx(0.1, abs=4 * 0.5 / 2048**0.5)
    assert x.std().item() == pytest.approx(0.5, rel=0.06)
    still = sample_heun_stochastic(DATA.denoiser, NOISE, karras_levels(60), SampleRandomness(0, range(512)), churn=0.0)
    torch.testing.assert_close(still, sample_heun(DATA.denoiser, NOISE, karras_levels(60)))


@pytest.mark.parametrize("levels", [[80.0], [80.0, 0.8], [80.0, 5.0, 0.8, 0.4]])
def test_multistep_gives_the_boundary_marginal_at_every_step(levels):
    """Started from N(m, s^2 + T^2), the exact consistency function gives N(m, s^2 + boundary^2)."""
    boundary = 0.3
    start = DATA.mean + (DATA.std**2 + 80.0**2) ** 0.5 * NOISE
    seen = []
    function = Counted(DATA.consistency(boundary))
    sample_multistep(
        function,
        torch.zeros_like(NOISE),
        torch.tensor(levels, dtype=torch.float64),
        SampleRandomness(0, range(512)),
        start=start,
        project=lambda x: seen.append(x) or x,
        boundary=boundary,
    )
    assert function.calls == len(levels)
    for x in seen:
        assert x.mean().item() == pytest.approx(0.1, abs=4 * 0.6 / 2048**0.5)
        assert x.std().item() == pytest.approx((0.25 + 0.09) ** 0.5, rel=4 / 4096**0.5)


def test_a_projection_touches_every_estimate():
    x = sample_multistep(
        DATA.consistency(0.002),
        NOISE,
        karras_levels(4)[:-1],
        SampleRandomness(0, range(512)),
        project=lambda x: x.clamp(0),
    )
    assert x.min() == 0


@pytest.mark.parametrize("levels", [[], [1.0, 2.0], [2.0, 2.0], [1.0, 0.001], [[1.0]]])
def test_levels_decrease_and_stay_above_the_boundary(levels):
    with pytest.raises(ValueError, match="they decrease"):
        sample_multistep(DATA.consistency(0.002), NOISE, torch.tensor(levels), None)
