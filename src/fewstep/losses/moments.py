"""The distance of two distributions by a kernel, from particles of each. Gretton et al. 2012; Zhou et al. 2025."""

import torch
from torch import Tensor


def laplace_kernel(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """exp(-||a - b|| / (D scale)) of each particle with each, [G, M, M]. a, b: [G, M, D]; scale: [G].

    Zhou et al. 2025, Section 4.3.
    """
    distances = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
    return (-distances / (a.shape[-1] * scale.view(-1, 1, 1))).exp()


def moment_discrepancy(a: Tensor, b: Tensor, scale: Tensor) -> Tensor:
    """mean k(a, a') + mean k(b, b') - 2 mean k(a, b) of the particles of each group, [G]. Arguments as above.

    The means are over all pairs, a particle with itself too: with two samples of one distribution the mean is
    2 (1 - E k) / M, and 0 only where a is b. Zhou et al. 2025, Eq. 12.
    """
    within = laplace_kernel(a, a, scale) + laplace_kernel(b, b, scale)
    return (within - 2 * laplace_kernel(a, b, scale)).mean((1, 2))


def of_group(values: Tensor, size: int) -> Tensor:
    """[B] -> [B]: all rows of a group of this size have the number of its first one."""
    return values.view(-1, size)[:, :1].expand(-1, size).reshape(-1)
