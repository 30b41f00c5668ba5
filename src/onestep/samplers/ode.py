"""Samplers of a teacher: solvers of the probability flow ODE from pure noise to data.

denoiser: a function of (x, sigma), labels and guidance already bound. noise: [B, ...] unit Gaussian. levels: [N],
decreasing, above 0; a last step goes to 0. rng: nothing here is drawn, and every sampler is called alike.
"""

from itertools import pairwise

from torch import Tensor

from onestep.diffusion.solvers import euler_step, heun_step
from onestep.samplers.levels import check_levels, each


def sample_euler(denoiser, noise: Tensor, levels: Tensor, rng=None) -> Tensor:
    """DDIM in these coordinates. NFE = len(levels)."""
    return _solve(denoiser, noise, levels, euler_step)


def sample_heun(denoiser, noise: Tensor, levels: Tensor, rng=None) -> Tensor:
    """Karras et al. 2022, Algorithm 1; the step to 0 is Euler's. NFE = 2 len(levels) - 1."""
    return _solve(denoiser, noise, levels, heun_step)


def carry_to_noise(denoiser, x0: Tensor, levels: Tensor) -> Tensor:
    """The noise [B, ...] that leads to x0: the ODE upwards by Heun's method. NFE = 2 len(levels) - 2.

    x0: clean data, which is taken for a point of its trajectory at the last and lowest level.
    """
    check_levels(levels)
    return _walk(denoiser, x0, levels.flip(0), heun_step) / levels[0].to(x0)


def _solve(denoiser, noise, levels, step):
    check_levels(levels)
    x = _walk(denoiser, noise * levels[0].to(noise), levels, step)
    return denoiser(x, each(levels[-1], x))  # Euler's step to 0


def _walk(denoiser, x, levels, step):
    for level, level_next in pairwise(levels):
        x = step(denoiser, x, each(level, x), each(level_next, x))
    return x
