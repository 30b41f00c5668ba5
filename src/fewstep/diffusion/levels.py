"""Noise levels. sigma is the standard deviation of the noise in x = x0 + sigma * noise."""

import math

import torch
from torch import Tensor

from fewstep.support.checks import above, at_least, between, check_value, up_to, whole

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0
TABLE = 2**13  # places at which a distribution without a formula for its quantiles is integrated


# Checks of an objective's fields: of the ends of a grid, and of the normal distribution that levels are drawn from.
LEVELS = up_to(10**6, whole(at_least(2)))  # of a grid
RHOS = up_to(100, above(0))
GRID = {"sigma_min": above(0), "sigma_max": above("sigma_min"), "rho": RHOS}
NORMAL = {"level_mean": between(-20, 20), "level_std": up_to(20, above(0))}  # of log(sigma): e**20 is beyond any use


def karras_level(
    index: Tensor, num_levels: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = RHO
) -> Tensor:
    """The level at `index` of a grid of num_levels, from sigma_max (0) down to sigma_min (num_levels - 1), float64.

    Karras et al. 2022, Eq. 5. The two ends are exact, so that a boundary condition at sigma_min holds to the bit.
    A grid of one level is sigma_max.
    """
    fraction = index.double() / max(num_levels - 1, 1)
    level = (sigma_max ** (1 / rho) + fraction * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho  # Eq. 5
    return level.where(fraction > 0, sigma_max).where(fraction < 1, sigma_min)


def karras_levels(
    num_levels: int, sigma_min: float = SIGMA_MIN, sigma_max: float = SIGMA_MAX, rho: float = RHO
) -> Tensor:
    """A decreasing grid of noise levels, [num_levels], float64."""
    check_value("num_levels", num_levels, at_least(1))
    return karras_level(torch.arange(num_levels), num_levels, sigma_min, sigma_max, rho)


def karras_neighbours(index: Tensor, count: int, num_levels: int, *ends: float, like: Tensor) -> list[Tensor]:
    """The levels at index, index + 1 ... of a grid, `count` of them, [B] each, with the type of `like`.

    ends: sigma_min, sigma_max, rho.
    """
    return [karras_level(index + place, num_levels, *ends).to(like.dtype) for place in range(count)]


def lognormal_intervals(levels: Tensor, mean: float, std: float) -> Tensor:
    """How much of ln sigma ~ N(mean, std^2) lies between neighbours of a decreasing grid [N], in sum 1, [N - 1].

    Song and Dhariwal 2023, Section 3.5.
    """
    below = torch.erf((levels.log() - mean) / (math.sqrt(2) * std))
    return (below[:-1] - below[1:]) / (below[0] - below[-1])


def pick(probabilities: Tensor, uniform: Tensor) -> Tensor:
    """Indices drawn with these probabilities [N] by uniform numbers in [0, 1), [B]."""
    above = probabilities.cumsum(0).to(uniform.device)
    return torch.searchsorted(above, uniform.double() * above[-1], right=True)


def lognormal_levels(normal: Tensor, mean: float, std: float) -> Tensor:
    """Levels with ln sigma ~ N(mean, std^2) from standard Gaussian numbers, [B]. Karras et al. 2022, Table 1."""
    return (mean + std * normal).exp()


def lognormal_levels_between(uniform: Tensor, mean: float, std: float, low: float, high: Tensor) -> Tensor:
    """Levels with ln sigma ~ N(mean, std^2), cut at low and high, from uniform numbers, [B] all but low; float64."""
    ends = [(end - mean) / std for end in (math.log(low), high.double().log())]
    below, above = (torch.special.ndtr(torch.as_tensor(end, dtype=torch.float64, device=high.device)) for end in ends)
    normal = torch.special.ndtri(below + uniform.double() * (above - below))
    return (mean + std * normal).exp().clamp_min(low).minimum(high.double())


def log_student_levels(uniform: Tensor, df: float, mean: float, std: float, low: float, high: float) -> Tensor:
    """Levels between low and high, where (ln sigma - mean) / std has Student's distribution, from uniform numbers, [B].

    df: its degrees of freedom. By a table of the integral of its density, which is inverted linearly.
    """
    logs = torch.linspace(math.log(low), math.log(high), TABLE, dtype=torch.float64, device=uniform.device)
    density = (1 + ((logs - mean) / std) ** 2 / df) ** (-(df + 1) / 2)
    below = torch.cat([logs.new_zeros(1), ((density[1:] + density[:-1]) / 2).cumsum(0)])
    wanted = uniform.double() * below[-1]
    place = (torch.searchsorted(below, wanted, right=True) - 1).clamp(0, TABLE - 2)
    share = (wanted - below[place]) / (below[place + 1] - below[place])
    return logs[place].lerp(logs[place + 1], share).exp().clamp(low, high)


def arc_levels(normal: Tensor, mean: float, std: float) -> Tensor:
    """Levels (1 - t) / t with t = 1 - 2 / pi atan(exp(N(mean, std^2))), from standard Gaussian numbers, [B].

    Peng et al. 2025. The two arcs are the parts of the quarter circle before and behind t.
    """
    tau = mean + std * normal
    return tau.exp().atan() / (-tau).exp().atan()


def per_sample(values: Tensor, x: Tensor) -> Tensor:
    """[B] -> [B, 1, ...], with the type of x and as many dimensions."""
    return values.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
