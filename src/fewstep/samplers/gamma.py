"""Sampling of a function of two levels."""

from itertools import pairwise

from torch import Tensor

from fewstep.diffusion.functions import Jump, Randomness
from fewstep.samplers.level_checks import check_levels, each
from fewstep.support.checks import between, check_value


def sample_gamma(
    jump: Jump,
    noise: Tensor,
    levels: Tensor,
    rng: Randomness | None = None,
    gamma: float = 0.0,
    start: float | Tensor = 0.0,
    boundary: float = 0.002,
) -> Tensor:
    """Kim et al. 2024, Algorithm 3. NFE = len(levels).

    jump: G(x, sigma, sigma_next), which follows the trajectory of x from one level to a lower one, [B] both; labels
    already bound. gamma: the share of each level that is drawn anew: 0 follows one trajectory, 1 is Algorithm 1 of
    Song et al. 2023 for the function G(x, sigma, boundary). Levels, start and rng are those of sample_multistep.

    The noise of the boundary level, which an estimate carries, is reckoned with: the paper jumps to
    sqrt(1 - gamma^2) sigma and adds gamma sigma z.
    """
    check_levels(levels, boundary)
    check_value("gamma", gamma, between(0, 1))
    x = start + float(levels[0]) * noise
    for level, level_next in pairwise(levels):
        lower = ((1 - gamma**2) * level_next**2 + gamma**2 * boundary**2).sqrt()
        x = jump(x, each(level, x), each(lower, x))
        if gamma > 0:
            assert rng is not None
            extra = gamma * (level_next**2 - boundary**2).sqrt()
            x = x + float(extra) * rng.normal(x.shape[1:]).to(x)
    return jump(x, each(levels[-1], x), each(levels.new_tensor(boundary), x))
