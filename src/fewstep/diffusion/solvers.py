"""One step along the probability flow ODE dx/dsigma = (x - D(x, sigma)) / sigma. Karras et al. 2022, Eq. 1 and 3.

denoiser: a function of (x, sigma). x: [B, ...]. sigma, sigma_next: [B].
"""

from torch import Tensor

from fewstep.diffusion.levels import per_sample


def slope(denoiser, x: Tensor, sigma: Tensor) -> Tensor:
    """dx/dsigma at (x, sigma), sigma > 0."""
    return (x - denoiser(x, sigma)) / per_sample(sigma, x)


def euler_step(denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """First order, NFE 1. In these coordinates it is DDIM (Song et al. 2021)."""
    return x + per_sample(sigma_next - sigma, x) * slope(denoiser, x, sigma)


def heun_step(denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Second order, NFE 2, sigma_next > 0. Karras et al. 2022, Algorithm 1, lines 4-8."""
    step = per_sample(sigma_next - sigma, x)
    first = slope(denoiser, x, sigma)
    second = slope(denoiser, x + step * first, sigma_next)
    return x + step * (first + second) / 2


SOLVERS = {"euler": euler_step, "heun": heun_step}
