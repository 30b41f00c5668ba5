"""Noise levels. sigma is the standard deviation of the noise in x = x0 + sigma * noise."""

import torch
from torch import Tensor

SIGMA_MIN, SIGMA_MAX, RHO = 0.002, 80.0, 7.0


def karras_level(index: Tensor, num_levels: int, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, rho=RHO) -> Tensor:
    """The level at `index` of a grid of num_levels, from sigma_max (0) down to sigma_min (num_levels - 1), float64.

    Karras et al. 2022, Eq. 5. The two ends are exact, so that a boundary condition at sigma_min holds to the bit.
    A grid of one level is sigma_max.
    """
    fraction = index.double() / max(num_levels - 1, 1)
    level = (sigma_max ** (1 / rho) + fraction * (sigma_min ** (1 / rho) - sigma_max ** (1 / rho))) ** rho  # Eq. 5
    return level.where(fraction > 0, sigma_max).where(fraction < 1, sigma_min)


def karras_levels(num_levels: int, sigma_min=SIGMA_MIN, sigma_max=SIGMA_MAX, rho=RHO) -> Tensor:
    """A decreasing grid of noise levels, [num_levels], float64."""
    if num_levels < 1:
        raise ValueError(f"{num_levels} noise levels were asked for: at least 1 is needed")
    return karras_level(torch.arange(num_levels), num_levels, sigma_min, sigma_max, rho)


def lognormal_levels(normal: Tensor, mean: float, std: float) -> Tensor:
    """Levels with ln sigma ~ N(mean, std^2) from standard Gaussian numbers, [B]. Karras et al. 2022, Table 1."""
    return (mean + std * normal).exp()


def per_sample(values: Tensor, x: Tensor) -> Tensor:
    """[B] -> [B, 1, ...], with the type of x and as many dimensions."""
    return values.to(x.dtype).view(-1, *[1] * (x.ndim - 1))
