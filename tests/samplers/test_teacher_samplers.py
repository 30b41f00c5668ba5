"""Samplers of a denoiser against the exact flow of Gaussian data and the moments of a mixture, float64."""

import math

import pytest
import torch

from fewstep.diffusion.levels import karras_levels, per_sample
from fewstep.diffusion.randomness import SampleRandomness, StepRandomness
from fewstep.samplers import DENOISER_SAMPLERS, carry_up, count_levels, sample_ancestral, sample_churn, sample_heun

ORDERS = {"euler": 1, "heun": 2, "dpm_solver_2": 2, "dpm_solver_3": 3, "deis_3": 4}


def error(sample, data, noise, steps):
    """Against the exact flow to the last level, denoised there as every sampler does."""
    levels = karras_levels(steps)
    first, last = (torch.full((len(noise),), level, dtype=torch.float64) for level in levels[[0, -1]].tolist())
    exact = data.denoiser(data.flow(first[0] * noise, first, last), last)
    return (sample(data.denoiser, noise, levels) - exact).abs().max().item()


@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_the_slope_of_the_error_is_the_order(data, noise, name, order):
    """Those that remember start with one step of order 1, whose share is too small to be seen: D hardly moves there."""
    coarse, fine = (error(DENOISER_SAMPLERS[name], data, noise, steps) for steps in (161, 321))
    assert math.log2(coarse / fine) == pytest.approx(order, abs=0.15)


@pytest.mark.parametrize("name", DENOISER_SAMPLERS)
@pytest.mark.parametrize("nfe", [1, 3, 9, 10])
def test_the_network_is_called_as_often_as_was_asked(data, noise, counted, name, nfe):
    if name in ("heun", "churn") and nfe % 2 == 0:
        with pytest.raises(ValueError, match=f"^NFE must be odd and at least 1 with {name}, got 10"):
            count_levels(name, nfe)
        return
    function, count = counted(data.denoiser)
    with count as seen:
        x = DENOISER_SAMPLERS[name](
            function, noise, karras_levels(count_levels(name, nfe)), SampleRandomness(0, range(512))
        )
    assert seen.samples == nfe * len(noise)
    assert torch.isfinite(x).all()


def test_no_evaluations_are_refused():
    with pytest.raises(ValueError, match=r"^NFE must be at least 1 with deis_3, got 0"):
        count_levels("deis_3", 0)


@pytest.mark.parametrize("name", DENOISER_SAMPLERS)
@pytest.mark.parametrize("levels", [[], [1.0, 2.0], [2.0, 2.0], [1.0, 0.0], [[1.0]], [math.nan], [math.inf, 1.0]])
def test_levels_decrease_and_stay_above_0(data, noise, name, levels):
    with pytest.raises(ValueError, match="levels must be decreasing and above 0, got"):
        DENOISER_SAMPLERS[name](data.denoiser, noise, torch.tensor(levels), None)


STOCHASTIC = {"ancestral": sample_ancestral, "churn": lambda *given: sample_churn(*given, s_noise=1.0)}


@pytest.mark.parametrize("sample", STOCHASTIC.values(), ids=STOCHASTIC)
def test_added_noise_keeps_mean_and_variance(data, law, sample):
    """From the exact law at the first level, and computed without drawing: mean and std tend to those of the data."""

    def off(steps):
        levels = karras_levels(steps)
        first = data.mean / levels[0], (1 + (data.std / levels[0]) ** 2).sqrt()
        mean, variance = law(lambda z, rng: sample(data.denoiser, first[0] + first[1] * z, levels, rng), steps + 1)
        return abs(mean - data.mean), abs(math.sqrt(variance) - data.std)

    coarse, fine = off(160), off(320)
    assert max(coarse) < 0.02
    assert math.log2(coarse[1] / fine[1]) > 0.85
    assert fine[0] < 1e-12


def test_ancestral_variance_is_its_closed_form(data, law):
    """Var x' = (q + (1 - q) c)^2 Var x + s'^2 (1 - q), q = (s'/s)^2, c = std^2 / (std^2 + s^2): a recursion."""
    levels = karras_levels(7).tolist()
    variance = levels[0] ** 2
    for level, lower in zip(levels, [*levels[1:], 0.0], strict=True):
        kept, c = (lower / level) ** 2, data.std**2 / (data.std**2 + level**2)
        variance = (kept + (1 - kept) * c) ** 2 * variance + lower**2 * (1 - kept)
    found = law(lambda z, rng: sample_ancestral(data.denoiser, z, karras_levels(7), rng), 8)[1]
    assert found == pytest.approx(variance, rel=1e-12)


def test_churn_without_churn_is_heun_and_inflated_noise_inflates(data, noise, law):
    still = sample_churn(data.denoiser, noise, karras_levels(40), SampleRandomness(0, range(512)), churn=0.0)
    torch.testing.assert_close(still, sample_heun(data.denoiser, noise, karras_levels(40)))
    plain, inflated = (
        law(lambda z, rng, s=s: sample_churn(data.denoiser, z, karras_levels(160), rng, s_noise=s), 161)[1]
        for s in (1.0, 1.003)
    )
    assert plain < inflated < 1.05 * plain


class Mixture:
    """weight N(a, s^2) + (1 - weight) N(b, s^2) in each dimension, whose denoiser is known."""

    weight, a, b, std = 0.3, -0.8, 0.5, 0.2
    mean = weight * a + (1 - weight) * b
    variance = std**2 + weight * (1 - weight) * (a - b) ** 2
    skewness = weight * (1 - weight) * (1 - 2 * weight) * (a - b) ** 3 / variance**1.5

    def denoiser(self, x, sigma):
        noisy = self.std**2 + per_sample(sigma, x) ** 2
        logits = math.log(self.weight / (1 - self.weight)) - ((x - self.a) ** 2 - (x - self.b) ** 2) / (2 * noisy)
        first = torch.sigmoid(logits)  # p(first component | x)
        means = first * self.a + (1 - first) * self.b
        return means + self.std**2 / noisy * (x - means)


# Relative error of the standard deviation with 80 levels. What is left at any number is 0.0003, since noise of level 80
# is not quite data of that level; the stochastic ones are drawn 20,001 times.
OFF = {"euler": 0.03, "heun": 3e-3, "dpm_solver_2": 3e-3, "dpm_solver_3": 6e-4, "deis_3": 6e-4}
DRAWN = {"ancestral": 0.045, "churn": 0.02}


@pytest.mark.parametrize(("name", "off"), [*OFF.items(), *DRAWN.items()])
def test_samples_of_a_mixture_have_its_moments(name, off):
    """From noise at equal quantiles, so that an ODE sampler's moments are wrong by its own error alone."""
    quantiles = (torch.arange(20_001, dtype=torch.float64) + 0.5) / 20_001
    noise, rng = torch.special.ndtri(quantiles)[:, None], StepRandomness(0, 0, 20_001, slice(None))
    given = {"s_noise": 1.0} if name == "churn" else {}
    x = DENOISER_SAMPLERS[name](Mixture().denoiser, noise, karras_levels(80), rng, **given)
    skewness = ((x - Mixture.mean) ** 3).mean().item() / Mixture.variance**1.5
    assert x.mean().item() == pytest.approx(Mixture.mean, abs=max(off / 2, 2e-3))
    assert x.std().item() == pytest.approx(Mixture.variance**0.5, rel=off)
    assert skewness == pytest.approx(Mixture.skewness, abs=3 * off + 2e-3)


def test_what_is_carried_to_noise_comes_back(data, counted):
    x0 = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]
    off = []
    for steps in (80, 160):
        function, count = counted(data.denoiser)
        levels = karras_levels(steps)
        with count as seen:
            points = carry_up(function, x0, levels)
        assert seen.samples == (2 * steps - 2) * len(x0)
        off.append((sample_heun(data.denoiser, points[0] / levels[0], levels) - x0).abs().max().item())
        exact = torch.stack([data.flow(x0, levels[-1:].expand(9), level.expand(9)) for level in levels])
        torch.testing.assert_close(points, exact, rtol=40 / steps**2, atol=1e-12)
    assert off[1] < 1e-3
    assert math.log2(off[0] / off[1]) > 1.8
