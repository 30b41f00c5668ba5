"""Samplers of a teacher: solvers of the probability flow ODE from pure noise to data.

denoiser: a function of (x, sigma), labels and guidance already bound. noise: [B, ...] unit Gaussian. levels: [N],
decreasing, above 0; a last step goes to 0. rng: nothing here is drawn, and every sampler is called alike.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from fewstep.diffusion.functions import Denoiser, Randomness, Solver
from fewstep.diffusion.solvers import euler_step, heun_step
from fewstep.samplers.level_checks import check_levels, each


def sample_euler(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness | None = None) -> Tensor:
    """DDIM in these coordinates. NFE = len(levels)."""
    return _solve(denoiser, noise, levels, euler_step)


def sample_heun(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness | None = None) -> Tensor:
    """Karras et al. 2022, Algorithm 1; the step to 0 is Euler's. NFE = 2 len(levels) - 1."""
    return _solve(denoiser, noise, levels, heun_step)


def carry_up(denoiser: Denoiser, x0: Tensor, levels: Tensor) -> Tensor:
    """The trajectory that leads to x0 at each level, [N, B, ...]: the ODE upwards, by Heun. NFE = 2 len(levels) - 2.

    x0: clean data, which is taken for a point of its trajectory at the last and lowest level.
    """
    check_levels(levels)
    return torch.stack([*_walk(denoiser, x0, levels.flip(0), heun_step)]).flip(0)


def _solve(denoiser: Denoiser, noise: Tensor, levels: Tensor, step: Solver) -> Tensor:
    check_levels(levels)
    x = noise * float(levels[0])
    for point in _walk(denoiser, x, levels, step):
        x = point
    # The slope at 0 is 0/0, so the last step is Euler's: it ends at the denoiser's estimate.
    return denoiser(x, each(levels[-1], x))


def _walk(denoiser: Denoiser, x: Tensor, levels: Tensor, step: Solver) -> Iterator[Tensor]:
    """A point for each level, x first."""
    yield x
    for level, level_next in pairwise(levels):
        x = step(denoiser, x, each(level, x), each(level_next, x))
        yield x
