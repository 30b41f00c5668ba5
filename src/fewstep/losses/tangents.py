"""The loss of a student by the derivative of its function along a trajectory, its tangent. Lu and Song 2024."""

import math

from torch import Tensor

from fewstep.diffusion.levels import per_sample

TANGENT_NORMS = ("l2", "rms")


def normalised(tangent: Tensor, constant: float, norm: str = "l2") -> Tensor:
    """g / (||g|| + constant), the norm of the whole sample. norm: one of TANGENT_NORMS."""
    length = tangent.flatten(1).norm(dim=1)
    if norm == "rms":
        length = length / math.sqrt(tangent[0].numel())
    return tangent / per_sample(length + constant, tangent)


def tangent_loss(output: Tensor, tangent: Tensor, weight: Tensor) -> Tensor:
    """e^w / D ||F - sg F - g||^2 - w, [B]. weight: w, [B]."""
    error = (output - output.detach() - tangent).square().flatten(1).mean(1)
    return weight.exp() * error - weight


def warmed_up(step: int, total_steps: int, share: float) -> float:
    """From 0 at first to 1, where that share of the training is over."""
    length = share * total_steps
    return min(1.0, step / length) if length else 1.0
