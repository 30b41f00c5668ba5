"""One step along the probability flow ODE dx/dsigma = (x - D(x, sigma)) / sigma. Karras et al. 2022, Eq. 1 and 3.

Each is an explicit Runge-Kutta method from the level sigma to sigma_next, [B] both, lower or higher. x: [B, ...].
"""

from torch import Tensor

from fewstep.diffusion.functions import Denoiser, Solver
from fewstep.diffusion.levels import per_sample


def slope(denoiser: Denoiser, x: Tensor, sigma: Tensor) -> Tensor:
    """dx/dsigma at (x, sigma), [B, ...]. sigma must be above 0, where the slope is 0/0. NFE 1."""
    return (x - denoiser(x, sigma)) / per_sample(sigma, x)


def euler_step(denoiser: Denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Euler's method: order 1, one stage, NFE 1. sigma_next may be 0.

    In these coordinates it is DDIM (Song et al. 2021), and the first-order DPM-Solver.
    """
    return x + per_sample(sigma_next - sigma, x) * slope(denoiser, x, sigma)


def heun_step(denoiser: Denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
    """Heun's method: order 2, two stages, NFE 2. Karras et al. 2022, Algorithm 1, lines 4-8.

    Also called the explicit trapezoidal rule, or improved Euler: the mean of the slopes at both ends. Not to be
    confused with the midpoint rule (DPM-Solver-2 of k-diffusion), nor with Heun's method of order 3.
    sigma_next must be above 0, since the slope there is evaluated too: go to 0 by euler_step.
    """
    step = per_sample(sigma_next - sigma, x)
    first = slope(denoiser, x, sigma)
    second = slope(denoiser, x + step * first, sigma_next)
    return x + step * (first + second) / 2


SOLVERS: dict[str, Solver] = {"euler": euler_step, "heun": heun_step}
