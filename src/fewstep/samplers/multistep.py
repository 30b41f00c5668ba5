"""Sampling of a consistency function."""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.diffusion.functions import ConsistencyFunction, Randomness
from fewstep.diffusion.levels import per_sample
from fewstep.samplers.level_checks import check_levels, each


def identity(x: Tensor) -> Tensor:
    return x


def sample_multistep(
    consistency: ConsistencyFunction,
    noise: Tensor,
    levels: Tensor,
    rng: Randomness | None = None,
    start: float | Tensor = 0.0,
    project: Callable[[Tensor], Tensor] = identity,
    boundary: float = 0.002,
) -> Tensor:
    """Song et al. 2023, Algorithm 1; one level is one step. NFE = len(levels).

    consistency: a function of (x, sigma), labels and guidance already bound. noise: [B, ...] unit Gaussian.
    levels: [N], decreasing, all above the function's boundary level. rng: gives noise by rng.normal(shape) from the
    second level on. start: the first input is start + levels[0] * noise. project: applied to each denoised estimate.
    Zero-shot editing is these two arguments.
    """
    check_levels(levels, boundary)
    x = start + float(levels[0]) * noise
    x = project(consistency(x, each(levels[0], x)))
    for level in levels[1:]:
        assert rng is not None  # a second level draws noise
        extra = float((level**2 - boundary**2).sqrt())  # line 4: the estimate carries noise of the boundary level
        x = x + extra * rng.normal(x.shape[1:]).to(x)
        x = project(consistency(x, each(level, x)))
    return x


def noises_along(consistency: ConsistencyFunction, points: Tensor, levels: Tensor, boundary: float = 0.002) -> Tensor:
    """The noises by which sample_multistep calls the function at these points, one a level, [N, B, ...] both.

    Those after the first lead there from its estimates, whatever their errors. NFE = len(levels) - 1.
    """
    called = zip(points[:-1], levels, strict=False)
    left = [torch.zeros_like(points[0]), *(consistency(x, each(level, x)) for x, level in called)]
    widths = torch.cat([levels[:1], (levels[1:] ** 2 - boundary**2).sqrt()])
    return (points - torch.stack(left)) / per_sample(widths, points)
