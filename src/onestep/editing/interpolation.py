"""Between two noises."""

import torch
from torch import Tensor

from onestep.diffusion.levels import per_sample


def spherical(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From a at share 0 to b at share 1 along the great circle, each sample by itself. Song et al. 2023, App. D.

    a, b: [B, ...]; share: [B]. The angle is that between whole samples; noises that are alike, or opposite to rounding,
    have no circle: there the line is taken.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle, share = cosine.acos(), share.to(a)
    sine = angle.sin()
    flat = sine < 1e-4
    weights = (((1 - share) * angle).sin() / sine).where(~flat, 1 - share), (share * angle).sin() / sine
    return per_sample(weights[0], a) * a + per_sample(weights[1].where(~flat, share), b) * b


def strip(a: Tensor, b: Tensor, frames: int) -> Tensor:
    """Every pair's way from a to b, ends included: [B, ...] -> [B * frames, ...]."""
    share = torch.linspace(0, 1, frames, dtype=torch.float64).repeat(len(a))
    return spherical(a.repeat_interleave(frames, 0), b.repeat_interleave(frames, 0), share)
