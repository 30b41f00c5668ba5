"""Samplers of a teacher that add noise on their way: arguments as in ode.py.

rng: gives noise by rng.normal(shape).
"""

from itertools import pairwise

from torch import Tensor

from fewstep.diffusion.functions import Denoiser, Randomness
from fewstep.diffusion.solvers import euler_step, heun_step
from fewstep.samplers.level_checks import check_levels, each


def sample_churn(
    denoiser: Denoiser,
    noise: Tensor,
    levels: Tensor,
    rng: Randomness,
    churn: float = 40.0,
    s_min: float = 0.05,
    s_max: float = 50.0,
    s_noise: float = 1.003,
) -> Tensor:
    """Karras et al. 2022, Algorithm 2: Heun, with noise added before each step whose level is in [s_min, s_max].

    The constants are the paper's for ImageNet-64 (Table 5). NFE = 2 len(levels) - 1.
    """
    check_levels(levels)
    gamma_max = min(churn / len(levels), 2**0.5 - 1)
    x = noise * float(levels[0])
    for level, level_next in pairwise([*levels, levels.new_zeros(())]):
        raised = level * (1 + gamma_max) if s_min <= level <= s_max else level  # lines 4-5
        extra = s_noise * (raised**2 - level**2).clamp_min(0).sqrt()
        x = x + float(extra) * rng.normal(x.shape[1:]).to(x)  # line 6
        step = heun_step if level_next > 0 else euler_step
        x = step(denoiser, x, each(raised, x), each(level_next, x))
    return x


def sample_ancestral(denoiser: Denoiser, noise: Tensor, levels: Tensor, rng: Randomness) -> Tensor:
    """Ho et al. 2020, Algorithm 2, in these coordinates: each step draws from q(x' | x, x0 = D). NFE = len(levels)."""
    check_levels(levels)
    x = noise * float(levels[0])
    for level, level_next in pairwise(levels):
        kept = (level_next / level) ** 2
        x0 = denoiser(x, each(level, x))
        mean = x0 + float(kept) * (x - x0)  # Eq. 7
        x = mean + float(level_next * (1 - kept).sqrt()) * rng.normal(x.shape[1:]).to(x)
    return denoiser(x, each(levels[-1], x))
