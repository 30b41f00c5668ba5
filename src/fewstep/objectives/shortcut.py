"""Shortcut models: Frans et al. 2024; and self-distillation in parts: Guo et al. 2025, Boffi et al. 2025."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.level_pairs import ENDS, flow_time, level_between, level_on_way
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN, per_sample
from fewstep.losses.jumps import Jumps, flow_velocities, loss_by_share, mean_square, two_jumps
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, at_least, between, check_fields, one_of, power_of_two, up_to, within


@dataclass(frozen=True)
class Shortcut(Objective):
    """||u(t, r) - sg[(t - l) u-(t, l) + (l - r) u-(l, r)] / (t - r)||^2, a jump from t to r against two, over l.

    split: "dyadic", jumps of the whole way between the ends of the noise, in the flow's time, or 1/2, 1/4 ... 2/steps
    of it from multiples of their length, each length as often as the others, l their middle; the halves of the shortest
    are steps of the velocity at r = t (Frans et al. 2024). "uniform": t and r are the larger and the smaller of two
    uniform times, l uniform between them (Guo et al. 2025, and PSD of Boffi et al. 2025). The ends of the noise stand
    for the papers' t = 0 and 1. flow_share: of the rows that learn the velocity at r = t from the data, at uniform
    times. target_ema: mu of u-, 0 for the student's own weights. clamp: of the point between the jumps, and of the
    target.
    """

    numerics = 1

    split: str = "dyadic"
    steps: int = 128
    flow_share: float = 0.75
    target_ema: float = 0.999
    clamp: float = 4.0
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **ENDS, split=one_of("dyadic", "uniform"), steps=up_to(2**20, power_of_two))
        check_fields(self, steps=at_least(2), flow_share=between(0, 1), target_ema=within(0, 1))
        check_fields(self, clamp=up_to(1e6, above(0)))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        student, target = cast(Trajectory, networks.student), cast(Trajectory, networks.target)
        parts = rng.parted(self.flow_share)
        jumps, shares = self.jumps(batch, parts[0], rng)
        jump_loss = partial(self.jump_loss, student, target, rng, shares[parts[1]])
        loss = loss_by_share(jumps, parts, partial(self.flow_loss, student, rng), jump_loss)
        return networks.at_levels(loss, jumps.sigma, jumps.sigma_next)

    def jumps(self, batch: Batch, flow_rows: Tensor, rng: TrainingRandomness) -> tuple[Jumps, Tensor]:
        """Points of the batch on paths to the data, these rows at uniform times; the share of each first jump, [B]."""
        x0 = batch.x0
        uniform, other, share = rng.uniform(), rng.uniform(), rng.uniform()
        if self.split == "dyadic":
            first, last = dyadic(uniform, other, self.steps)
            share = torch.full_like(share, 0.5)
        else:
            first, last = torch.minimum(uniform, other), torch.maximum(uniform, other)
        first = first.index_copy(0, flow_rows, uniform[flow_rows])
        sigma, sigma_next = level_on_way(first, self), level_on_way(last, self)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        return Jumps(x, sigma, sigma_next, x0, batch.labels), share

    def flow_loss(self, student: Trajectory, rng: TrainingRandomness, jumps: Jumps) -> Tensor:
        """Flow matching, [B]."""
        return mean_square(*flow_velocities(student, jumps, rng))

    def jump_loss(
        self, student: Trajectory, target: Trajectory, rng: TrainingRandomness, share: Tensor, jumps: Jumps
    ) -> Tensor:
        """A jump against two of the target, [B]."""
        whole = self.sigma_max / (1 + self.sigma_max) - self.sigma_min / (1 + self.sigma_min)
        parts = Parts(target, whole / self.steps if self.split == "dyadic" else 0.0)
        middle = level_between(jumps.sigma, jumps.sigma_next, share)
        with torch.no_grad(), rng.dropout():
            first = parts.average_velocity(jumps.x, jumps.sigma, middle, jumps.labels)
        both = two_jumps(parts, jumps, first, share, rng, self.clamp).clamp(-self.clamp, self.clamp)
        with rng.dropout():
            velocity = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma_next, jumps.labels)
        return mean_square(velocity, both)

    def target_decay(self, progress: Progress) -> float | None:
        return self.target_ema or None


@dataclass(frozen=True)
class Parts:
    """A flow map whose jumps of the shortest time are steps of its velocity at r = t, which the data teach."""

    flow_map: Trajectory
    shortest: float

    def average_velocity(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, labels: Tensor | None) -> Tensor:
        short = flow_time(sigma) - flow_time(sigma_next) < 1.5 * self.shortest  # the next longer are twice as long
        return self.flow_map.average_velocity(x, sigma, sigma.where(short, sigma_next), labels)


def dyadic(which: Tensor, where: Tensor, steps: int) -> tuple[Tensor, Tensor]:
    """Begin and end of jumps of 2^-k of the way, 2^-k from 1 to 2 / steps, from a multiple of it, [B] both.

    which, where: uniform numbers that choose k and the multiple.
    """
    count = 2.0 ** (which * (steps.bit_length() - 1)).floor()
    place = (where * count).floor()
    return place / count, (place + 1) / count
