"""Lagrangian self-distillation (LSD): Boffi et al. 2025; and terminal velocity matching (TVM): Zhou et al. 2025."""

from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.level_pairs import ENDS, level_on_way
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN, per_sample
from fewstep.losses.balance import error_scale
from fewstep.losses.jumps import Jumps, flow_velocities, loss_by_share, mean_square, reached
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, between, check_fields, up_to, within


@dataclass(frozen=True)
class LagrangianSelfDistillation(Objective):
    """||u - sg(v-(X, s) + (t - s) du/ds)||^2, X = x_t - (t - s) u the end of the jump: dX/ds is the velocity there.

    It is the form whose gradient does not pass through the derivative. t and s are the larger and the smaller of two
    uniform times of the flow between the ends of the noise, which stand for the papers' t = 0 and 1. v- is the map's
    own velocity at s: the student's, or that of a slow target where target_ema is above 0 (TVM: .99). flow_share: of
    the rows that learn v from the data, at uniform times. error_constant, error_power: of the adaptive weight
    1 / sg(e + c)^p, p 0 for none.
    """

    numerics = 1

    flow_share: float = 0.75
    target_ema: float = 0.0
    error_constant: float = 1e-3
    error_power: float = 0.0
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **ENDS, flow_share=between(0, 1), target_ema=within(0, 1))
        check_fields(self, error_constant=up_to(1e6, above(0)), error_power=between(0, 1))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        student, target = cast(Trajectory, networks.student), cast(Trajectory, networks.target)
        parts = rng.parted(self.flow_share)
        jumps = self.jumps(batch, parts[0], rng)
        flow_loss, jump_loss = partial(self.flow_loss, student, rng), partial(self.jump_loss, student, target, rng)
        loss = loss_by_share(jumps, parts, flow_loss, jump_loss)
        return networks.at_levels(loss, jumps.sigma, jumps.sigma_next)

    def jumps(self, batch: Batch, flow_rows: Tensor, rng: TrainingRandomness) -> Jumps:
        """Points of the batch on paths to the data; these rows at uniform times, the others at the larger of two."""
        one, other, x0 = rng.uniform(), rng.uniform(), batch.x0
        first = torch.minimum(one, other).index_copy(0, flow_rows, one[flow_rows])  # shares of the way down
        sigma, sigma_next = level_on_way(first, self), level_on_way(torch.maximum(one, other), self)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        return Jumps(x, sigma, sigma_next, x0, batch.labels)

    def flow_loss(self, student: Trajectory, rng: TrainingRandomness, jumps: Jumps) -> Tensor:
        """Flow matching, [B]."""
        return self.weighted(*flow_velocities(student, jumps, rng))

    def jump_loss(self, student: Trajectory, target: Trajectory, rng: TrainingRandomness, jumps: Jumps) -> Tensor:
        """By the derivative at the end of the jump, [B]."""
        with rng.dropout():
            velocity, derivative = student.end_derivative(jumps.x, jumps.sigma, jumps.sigma_next, jumps.labels)
        with torch.no_grad(), rng.dropout():
            end = reached(jumps.x, jumps.sigma, velocity, jumps.sigma_next)
            terminal = target.average_velocity(end, jumps.sigma_next, jumps.sigma_next, jumps.labels)
        return self.weighted(velocity, terminal + derivative)

    def weighted(self, velocity: Tensor, target: Tensor) -> Tensor:
        """e / sg (e + c)^p, e the mean square, [B]."""
        error = mean_square(velocity, target)
        return error / error_scale(error, self.error_constant, self.error_power)

    def target_decay(self, progress: Progress) -> float | None:
        return self.target_ema or None
