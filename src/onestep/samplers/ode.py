"""Samplers of a teacher: solvers of the probability flow ODE from pure noise to data.

denoiser: a function of (x, sigma), labels and guidance already bound. noise: [B, ...] unit Gaussian. levels: [N],
decreasing, above 0; a last step goes to 0.
"""

from itertools import pairwise

from torch import Tensor

from onestep.diffusion.solvers import euler_step, heun_step


def sample_euler(denoiser, noise: Tensor, levels: Tensor) -> Tensor:
    """DDIM in these coordinates. NFE = len(levels)."""
    return _solve(denoiser, noise, levels, euler_step)


def sample_heun(denoiser, noise: Tensor, levels: Tensor) -> Tensor:
    """Karras et al. 2022, Algorithm 1; the step to 0 is Euler's. NFE = 2 len(levels) - 1."""
    return _solve(denoiser, noise, levels, heun_step)


def sample_heun_stochastic(
    denoiser, noise: Tensor, levels: Tensor, rng, churn=40.0, s_min=0.05, s_max=50.0, s_noise=1.003
):
    """Karras et al. 2022, Algorithm 2: noise is added before each step whose level is in [s_min, s_max].

    rng: gives noise by rng.normal(shape). NFE = 2 len(levels) - 1.
    """
    check_levels(levels)
    gamma_max = min(churn / len(levels), 2**0.5 - 1)
    x = noise * levels[0]
    for level, level_next in pairwise([*levels, levels.new_zeros(())]):
        raised = level * (1 + gamma_max) if s_min <= level <= s_max else level  # lines 4-5
        extra = s_noise * (raised**2 - level**2).clamp_min(0).sqrt()
        x = x + extra.to(x.dtype) * rng.normal(x.shape[1:]).to(x)  # line 6
        step = heun_step if level_next > 0 else euler_step
        x = step(denoiser, x, _batch(raised, x), _batch(level_next, x))
    return x


def _solve(denoiser, noise, levels, step):
    check_levels(levels)
    x = noise * levels[0].to(noise.dtype)
    for level, level_next in pairwise(levels):
        x = step(denoiser, x, _batch(level, x), _batch(level_next, x))
    return euler_step(denoiser, x, _batch(levels[-1], x), x.new_zeros(len(x)))


def _batch(level: Tensor, x: Tensor) -> Tensor:
    return level.to(x).expand(len(x))


def check_levels(levels: Tensor, boundary: float = 0.0) -> Tensor:
    """levels, if there is one and they decrease and stay above the boundary; else ValueError."""
    if levels.ndim != 1 or len(levels) == 0 or bool((levels.diff() >= 0).any()) or levels[-1] <= boundary:
        raise ValueError(f"levels are {levels.tolist()}: they decrease and stay above {boundary:g}")
    return levels
