"""Samplers of a student against the exact consistency function and flow of Gaussian data, float64."""

from types import SimpleNamespace

import pytest
import torch

from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.samplers import noises_along, sample_gamma, sample_multistep

BOUNDARY = 0.3
LEVELS = [[80.0], [80.0, 0.8], [80.0, 5.0, 0.8, 0.4]]


@pytest.mark.parametrize("levels", LEVELS)
def test_multistep_gives_the_boundary_marginal_at_every_step(data, law, levels):
    """Started from N(m, s^2 + T^2), the exact consistency function gives N(m, s^2 + boundary^2)."""
    first = (data.std**2 + 80.0**2) ** 0.5
    for count in range(1, len(levels) + 1):
        mean, variance = law(
            lambda z, rng, count=count: sample_multistep(
                data.consistency(BOUNDARY),
                torch.zeros_like(z),
                torch.tensor(levels[:count], dtype=torch.float64),
                rng,
                start=data.mean + first * z,
                boundary=BOUNDARY,
            ),
            count,
        )
        assert mean == pytest.approx(data.mean, abs=1e-12)
        assert variance == pytest.approx(data.std**2 + BOUNDARY**2, rel=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("levels", LEVELS)
def test_gamma_keeps_the_marginal_whatever_is_drawn_anew(data, law, levels, gamma):
    first = (data.std**2 + 80.0**2) ** 0.5
    mean, variance = law(
        lambda z, rng: sample_gamma(
            data.flow,
            torch.zeros_like(z),
            torch.tensor(levels, dtype=torch.float64),
            rng,
            gamma,
            start=data.mean + first * z,
            boundary=BOUNDARY,
        ),
        len(levels),
    )
    assert mean == pytest.approx(data.mean, abs=1e-12)
    assert variance == pytest.approx(data.std**2 + BOUNDARY**2, rel=1e-12)


def test_gamma_1_is_multistep_and_gamma_0_the_trajectory(data, noise):
    levels = torch.tensor(LEVELS[-1], dtype=torch.float64)

    def rng():
        return SampleRandomness(0, range(512))

    drawn = sample_gamma(data.flow, noise, levels, rng(), gamma=1.0, boundary=BOUNDARY)
    several = sample_multistep(data.consistency(BOUNDARY), noise, levels, rng(), boundary=BOUNDARY)
    torch.testing.assert_close(drawn, several)
    followed = sample_gamma(data.flow, noise, levels, boundary=BOUNDARY)
    torch.testing.assert_close(followed, data.consistency(BOUNDARY)(80 * noise, levels[:1].expand(512)))


@pytest.mark.parametrize("levels", LEVELS)
def test_the_function_is_called_once_a_level(data, noise, counted, levels):
    levels, rng = torch.tensor(levels, dtype=torch.float64), SampleRandomness(0, range(512))
    for function, sample in ((data.consistency(BOUNDARY), sample_multistep), (data.flow, sample_gamma)):
        module, count = counted(function)
        with count as seen:
            sample(module, noise, levels, rng, boundary=BOUNDARY)
        assert seen.samples == len(levels) * len(noise)


def test_a_projection_touches_every_estimate(data, noise):
    seen = []

    def project(x):
        seen.append(x)
        return x.clamp(0)

    rng = SampleRandomness(0, range(512))
    x = sample_multistep(data.consistency(0.002), noise, karras_levels(4)[:-1], rng, project=project)
    assert x.min() == 0
    assert len(seen) == 3


@pytest.mark.parametrize("levels", [[], [1.0, 2.0], [2.0, 2.0], [1.0, 0.001], [[1.0]]])
def test_levels_decrease_and_stay_above_the_boundary(data, noise, levels):
    with pytest.raises(ValueError, match="levels must be decreasing and above 0.002, got"):
        sample_multistep(data.consistency(0.002), noise, torch.tensor(levels), None)
    with pytest.raises(ValueError, match="levels must be decreasing and above 0.002, got"):
        sample_gamma(data.flow, noise, torch.tensor(levels), None)


@pytest.mark.parametrize("gamma", [-0.1, 1.1, float("nan")])
def test_gamma_is_a_share(data, noise, gamma):
    allowed = "finite" if gamma != gamma else "between 0 and 1"
    with pytest.raises(ValueError, match=f"gamma must be {allowed}, got {gamma}"):
        sample_gamma(data.flow, noise, karras_levels(3)[:-1], None, gamma)


def test_noises_along_points_lead_a_wrong_function_there(counted):
    levels = torch.tensor([80.0, 5.0, 0.8], dtype=torch.float64)
    points = torch.randn(3, 7, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    called = []

    def wrong(x, sigma):
        called.append(x)
        return x.sin() + sigma[:, None]

    function, count = counted(wrong)
    with count as seen:
        noises = noises_along(function, points, levels, BOUNDARY)
    assert seen.samples == 2 * 7
    called.clear()
    rest = iter(noises[1:])
    sample_multistep(wrong, noises[0], levels, SimpleNamespace(normal=lambda shape: next(rest)), boundary=BOUNDARY)
    torch.testing.assert_close(torch.stack(called), points)
