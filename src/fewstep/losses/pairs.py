"""The two points of one trajectory that a consistency loss compares: the student's, and the less noisy target's."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from fewstep.diffusion.functions import LabelledDenoiser, TrainingRandomness
from fewstep.diffusion.levels import per_sample


class Pair(Protocol):
    """The functions that a consistency loss compares, and by which distance."""

    @property
    def student(self) -> LabelledDenoiser: ...
    @property
    def target(self) -> LabelledDenoiser: ...
    @property
    def distance(self) -> Callable[[Tensor, Tensor], Tensor]: ...
    @property
    def at_levels(self) -> Callable[..., Tensor]: ...


class CleanBatch(Protocol):
    """Clean data, [B, ...], its labels, and what else networks are told of it."""

    @property
    def x0(self) -> Tensor: ...
    @property
    def labels(self) -> Tensor | None: ...
    @property
    def conditions(self) -> dict[str, Tensor]: ...


def pair_distance(
    networks: Pair,
    x: Tensor,
    sigma: Tensor,
    x_next: Tensor,
    sigma_next: Tensor,
    labels: Tensor | None,
    rng: TrainingRandomness,
    **conditions: Tensor,
) -> Tensor:
    """d(f(x, sigma), f-(x_next, sigma_next)), [B]: both passes have one dropout mask, and the target no gradient.

    networks: an objective's Networks. conditions: what both are told beside the labels. Song et al. 2023,
    Eq. 7; one mask: Song and Dhariwal 2023, Section 3.1.
    """
    with torch.no_grad(), rng.dropout():
        target = networks.target(x_next, sigma_next, labels, **conditions)
    with rng.dropout():
        estimate = networks.student(x, sigma, labels, **conditions)
    return networks.at_levels(networks.distance(estimate, target), sigma)


def training_distance(
    networks: Pair, batch: CleanBatch, sigma: Tensor, sigma_next: Tensor, rng: TrainingRandomness
) -> Tensor:
    """pair_distance at x0 + sigma z and x0 + sigma_next z, the same z: no teacher. Song et al. 2023, Eq. 10."""
    noise = rng.normal(batch.x0.shape[1:])
    x, x_next = (batch.x0 + per_sample(level, batch.x0) * noise for level in (sigma, sigma_next))
    return pair_distance(networks, x, sigma, x_next, sigma_next, batch.labels, rng, **batch.conditions)
