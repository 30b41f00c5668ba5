"""The points of a batch from which jumps go; targets of two jumps; a loss that is another for a share of the rows."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.level_pairs import flow_time, level_between
from fewstep.diffusion.levels import per_sample


class Jumper(Protocol):
    """A function of two levels, as the velocity of its jumps."""

    def average_velocity(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, labels: Tensor | None, /) -> Tensor: ...


class FlowMap(Jumper, Protocol):
    """It with the velocity of a straight path to clean data: preconditioning.Trajectory."""

    def velocity(self, x: Tensor, sigma: Tensor, denoised: Tensor, /) -> Tensor: ...


@dataclass(frozen=True)
class Jumps:
    """Points on straight paths to clean data, and the levels where jumps from them end.

    x: [B, ...] at the levels sigma, [B]. sigma_next: [B], at most sigma. denoised: [B, ...], where the paths lead: the
    data, or a teacher's estimate. labels: [B, classes] or None.
    """

    x: Tensor
    sigma: Tensor
    sigma_next: Tensor
    denoised: Tensor
    labels: Tensor | None

    def at(self, rows: Tensor) -> "Jumps":
        """Those of some rows. rows: their places, [N]."""
        labels = None if self.labels is None else self.labels[rows]
        return Jumps(self.x[rows], self.sigma[rows], self.sigma_next[rows], self.denoised[rows], labels)


JumpLoss = Callable[[Jumps], Tensor]


def loss_by_share(jumps: Jumps, parts: tuple[Tensor, Tensor], first: JumpLoss, second: JumpLoss) -> Tensor:
    """The loss `first` of the rows of the first part, `second` of the others, [B]. parts: from rng.parted."""
    pieces = [(rows, loss) for rows, loss in zip(parts, (first, second), strict=True) if len(rows)]
    values = torch.cat([loss(jumps.at(rows)) for rows, loss in pieces])
    return values[torch.cat([rows for rows, _ in pieces]).argsort()]


def flow_velocities(flow_map: FlowMap, jumps: Jumps, rng: TrainingRandomness) -> tuple[Tensor, Tensor]:
    """What flow matching compares, [B, ...] both: the map's velocity where a jump has no length, and the path's."""
    with rng.dropout():
        velocity = flow_map.average_velocity(jumps.x, jumps.sigma, jumps.sigma, jumps.labels)
    return velocity, flow_map.velocity(jumps.x, jumps.sigma, jumps.denoised)


def reached(x: Tensor, sigma: Tensor, velocity: Tensor, sigma_next: Tensor, bound: float = torch.inf) -> Tensor:
    """Where the jump from x to the level sigma_next with this velocity ends. bound: of the flow's point there."""
    gone = per_sample(flow_time(sigma) - flow_time(sigma_next), x)
    point = x / (1 + per_sample(sigma, x)) - gone * velocity
    return (1 + per_sample(sigma_next, x)) * point.clamp(-bound, bound)


@torch.no_grad()
def two_jumps(
    flow_map: Jumper,
    jumps: Jumps,
    first: Tensor,
    share: float | Tensor,
    rng: TrainingRandomness,
    bound: float = torch.inf,
) -> Tensor:
    """The average velocity of two jumps in a row, to the middle with the velocity `first`, to the end with the map's.

    share: of the flow's time from sigma down to sigma_next that the first one takes, [] or [B]. bound: of the values of
    the flow's point between them. With the path's velocity as `first` it is the target of alpha-Flow and SoFlow (Zhang
    et al. 2025, Luo et al. 2025), with the map's own that of shortcut models (Frans et al. 2024).
    """
    middle = level_between(jumps.sigma, jumps.sigma_next, share)
    x = reached(jumps.x, jumps.sigma, first, middle, bound)
    with rng.dropout():
        second = flow_map.average_velocity(x, middle, jumps.sigma_next, jumps.labels)
    weight = per_sample(torch.as_tensor(share, device=x.device).expand(len(x)), x)
    return weight * first + (1 - weight) * second


def mean_square(velocity: Tensor, target: Tensor) -> Tensor:
    """||u - target||^2 over the dimensions, [B]."""
    return (velocity - target).square().flatten(1).mean(1)
