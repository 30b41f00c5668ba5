"""The loss of a student by the derivative of its function along a trajectory, its tangent. Lu and Song 2024."""

from torch import Tensor

from fewstep.diffusion.levels import per_sample


def normalised(tangent: Tensor, constant: float) -> Tensor:
    """g / (||g|| + constant), the norm of the whole sample."""
    return tangent / per_sample(tangent.flatten(1).norm(dim=1) + constant, tangent)


def tangent_loss(output: Tensor, tangent: Tensor, weight: Tensor) -> Tensor:
    """e^w / D ||F - sg F - g||^2 - w, [B]. weight: w, [B]."""
    error = (output - output.detach() - tangent).square().flatten(1).mean(1)
    return weight.exp() * error - weight


def warmed_up(step: int, total_steps: int, share: float) -> float:
    """From 0 at first to 1, where that share of the training is over."""
    length = share * total_steps
    return min(1.0, step / length) if length else 1.0
