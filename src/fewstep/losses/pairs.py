"""The two points of one trajectory that a consistency loss compares: the student's, and the less noisy target's."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from fewstep.diffusion.functions import LabelledDenoiser, TrainingRandomness
from fewstep.diffusion.levels import per_sample

# By the name of a weight: what divides the distance, of (t, t - r, sigma_data), [B].
WEIGHTS: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "gap": lambda sigma, gap, sigma_data: gap,
    "c_out": lambda sigma, gap, sigma_data: sigma * sigma_data / (sigma**2 + sigma_data**2).sqrt(),
    "edm": lambda sigma, gap, sigma_data: (sigma * sigma_data) ** 2 / (sigma**2 + sigma_data**2),
}


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


def tuned_gap(sigma: Tensor, stage: int, q: float, k: float, b: float) -> Tensor:
    """t - r, [B]: r = max(0, t (1 - q^-(stage + 1) (1 + k sigmoid(-b t)))), without its cancellation.

    stage: counted from 0; the two levels are nearer to each other in each. Geng et al. 2024, Section 4.
    """
    fraction = q ** -(stage + 1) * (1 + k * (-b * sigma).sigmoid())
    return sigma * fraction.clamp_max(1)


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
