"""The limit of a pair of points on one trajectory: a consistency loss by the tangent, Lu and Song 2024, Algorithm 1."""

import math

from torch import Tensor

from onestep.diffusion.levels import per_sample


def check_tangent(warmup_steps: int, constant: float) -> None:
    """Raise ValueError for what there is not."""
    if warmup_steps < 0:
        raise ValueError(f"warmup_steps is {warmup_steps}: it is at least 0")
    if not 0 < constant < math.inf:
        raise ValueError(f"tangent_constant is {constant}: it is above 0 and finite")


def tangent_warmup(step: int, warmup_steps: int) -> float:
    """r, from 0 at first to 1."""
    return min(1.0, step / warmup_steps) if warmup_steps else 1.0


def normalised(tangent: Tensor, constant: float) -> Tensor:
    """g / (||g|| + constant), the norm of the whole sample."""
    return tangent / per_sample(tangent.flatten(1).norm(dim=1) + constant, tangent)


def tangent_loss(output: Tensor, tangent: Tensor, weight: Tensor) -> Tensor:
    """e^w / D ||F - sg F - g||^2 - w, [B]. weight: w, [B]."""
    error = (output - output.detach() - tangent).square().flatten(1).mean(1)
    return weight.exp() * error - weight


def continuous_loss(
    networks, x: Tensor, sigma: Tensor, denoised: Tensor, labels, warmup: float, constant: float, rng
) -> Tensor:
    """The loss of each sample, [B], along the trajectory whose slope is that of `denoised`.

    networks: has student (a TrigFlow) and, among modules, the weighting. warmup: r; constant: of the normalisation.
    """
    with rng.dropout():
        output, tangent = networks.student.tangent(x, sigma, denoised, warmup, labels)
    weight = networks.modules["weighting"](sigma.log() / 4)
    return tangent_loss(output, normalised(tangent, constant), weight.to(x.dtype))
