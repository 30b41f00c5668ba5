"""MeanFlow: Geng et al. 2025; and alpha-Flow, of which it is the end: Zhang et al. 2025."""

from dataclasses import dataclass
from functools import partial
from math import exp
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.guidance import Guidance, draw_strength, guided, own_guided, strength
from fewstep.diffusion.level_pairs import ENDS, PAIRS, lognormal_pairs
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN, per_sample
from fewstep.losses.balance import error_scale
from fewstep.losses.jumps import Jumps, flow_velocities, loss_by_share, two_jumps
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, between, check_fields, optional, up_to
from fewstep.support.errors import InvalidInput

SNAP = 0.005  # an alpha so near to 0 or 1 is 0 or 1


@dataclass(frozen=True)
class MeanFlow(Objective):
    """||u - sg(v - (t - r) du/dt)||^2 / sg(the same + c)^p, u the average velocity of a jump from t to r.

    level_mean, level_std, next_mean, next_std, pairs: of the levels of t and r, as in lognormal_pairs; what lies beyond
    the ends of the noise becomes the end, so that t = 1 of the paper is sigma_max here. flow_share: of the rows that
    have r = t and so learn v itself. from_data: v is the data's velocity, not the teacher's; guidance: strength of the
    teacher's, 1 for none, or its least and its most: the student is told it. omega, kappa: of the guidance in the
    student's own target, 1 and 0 for none; guided_levels: the least and the most where it acts, all if not given.
    alpha: 0 for MeanFlow; above it the derivative is a difference of two points (1: none, trajectory flow matching),
    for the whole training, or the two shares of the training between which it falls from 1 to 0 as a sigmoid of that
    sharpness; clamp: of the values of a target of two points. error_constant, error_power: of the adaptive weight.
    """

    numerics = 1

    level_mean: float = -0.6
    level_std: float = 1.6
    next_mean: float = -4.0
    next_std: float = 1.6
    pairs: str = "capped"
    flow_share: float = 0.25
    from_data: bool = False
    guidance: Guidance = 1.0
    omega: float = 1.0
    kappa: float = 0.0
    guided_levels: tuple[float, float] | None = None
    alpha: float | tuple[float, float] = 0.0
    sharpness: float = 25.0
    clamp: float = 4.0
    error_constant: float = 1e-3
    error_power: float = 0.75
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **ENDS, **PAIRS, flow_share=between(0, 1), guidance=strength)
        weight = between(-1000, 1000)
        check_fields(self, omega=weight, kappa=weight, guided_levels=optional(levels_within))
        check_fields(self, alpha=alphas, sharpness=up_to(1e6, above(0)), clamp=up_to(1e6, above(0)))
        check_fields(self, error_constant=up_to(1e6, above(0)), error_power=between(0, 1))
        if self.from_data and self.guidance != 1:
            raise InvalidInput.of("guidance", self.guidance, "1 if from_data is true, since it is the teacher's")

    @property
    def needs_teacher(self) -> bool:
        return not self.from_data

    @property
    def guides_itself(self) -> bool:
        return (self.omega, self.kappa) != (1, 0)

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        student, alpha = cast(Trajectory, networks.student), self.alpha_at(progress)
        jumps = self.jumps(networks, batch, rng)
        flow, jump = partial(self.flow_loss, student, rng), partial(self.jump_loss, student, rng, alpha)
        loss = loss_by_share(jumps, rng.parted(self.flow_share), flow, jump)
        return networks.at_levels(loss, jumps.sigma, jumps.sigma_next)

    @torch.no_grad()
    def jumps(self, networks: Networks, batch: Batch, rng: TrainingRandomness) -> Jumps:
        """Points of the batch, on paths to the data or to the teacher's estimate, which guidance may move."""
        strength, labels = draw_strength(self.guidance, batch.labels, rng)
        sigma, sigma_next = lognormal_pairs(self, rng)
        x = batch.x0 + per_sample(sigma, batch.x0) * rng.normal(batch.x0.shape[1:])
        denoised = batch.x0 if self.from_data else guided(networks.denoise, x, sigma, batch.labels, strength)

        def own(x: Tensor, sigma: Tensor, labels: Tensor | None, **conditions: Tensor) -> Tensor:
            with rng.dropout():
                return cast(Trajectory, networks.student).denoiser(x, sigma, labels, **conditions)

        weights, levels = (self.omega, self.kappa), self.guided_levels or (0.0, SIGMA_MAX)
        denoised = own_guided(own, x, sigma, labels, denoised, weights, levels)
        return Jumps(x, sigma, sigma_next, denoised, labels)

    def flow_loss(self, student: Trajectory, rng: TrainingRandomness, jumps: Jumps) -> Tensor:
        """Flow matching, [B]: r = t."""
        return self.weighted(*flow_velocities(student, jumps, rng))

    def jump_loss(self, student: Trajectory, rng: TrainingRandomness, alpha: float, jumps: Jumps) -> Tensor:
        """By the derivative, or where alpha is above 0 by the jump of another point of the path, [B]."""
        if alpha == 0:
            with rng.dropout():
                points = jumps.x, jumps.sigma, jumps.sigma_next, jumps.denoised, jumps.labels
                velocity, derivative = student.derivative(*points)
            return self.weighted(velocity, student.velocity(jumps.x, jumps.sigma, jumps.denoised) - derivative)
        with rng.dropout():
            velocity = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma_next, jumps.labels)
        target = student.velocity(jumps.x, jumps.sigma, jumps.denoised)
        if alpha < 1:
            target = two_jumps(student, jumps, target, alpha, rng)
        # In the limit u - target is alpha times MeanFlow's, and with this weight the gradient goes to MeanFlow's. It is
        # alpha for p = 1, as in the code of Zhang et al. 2025.
        return alpha ** (2 * self.error_power - 1) * self.weighted(velocity, target.clamp(-self.clamp, self.clamp))

    def weighted(self, velocity: Tensor, target: Tensor) -> Tensor:
        """e / sg (e + c)^p, e the sum of squares, [B]. Geng et al. 2025, Section 4.3."""
        error = (velocity - target).square().flatten(1).sum(1)
        return error / error_scale(error, self.error_constant, self.error_power)

    def alpha_at(self, progress: Progress) -> float:
        """alpha of a step, by the schedule of Zhang et al. 2025."""
        if isinstance(self.alpha, int | float):
            return self.alpha
        begin, end = self.alpha
        place = (progress.step / progress.total_steps - begin) / (end - begin)
        alpha = 1 / (1 + exp(min(self.sharpness * (place - 0.5), 500)))
        return round(alpha) if min(alpha, 1 - alpha) < SNAP else alpha


def alphas(value: float | tuple[float, float], owner: object = None) -> str | None:
    """A check: alpha of the whole training, or the shares of it between which it falls."""
    if isinstance(value, int | float):
        return between(0, 1)(value, owner)
    begin, end = value
    return None if 0 <= begin < end <= 1 else "two shares of the training, such as [0, 0.8]"


def levels_within(value: tuple[float, float], owner: MeanFlow) -> str | None:
    """A check: two levels of the noise, the lower one first."""
    low, high = value
    ends = f"{owner.sigma_min:g} and {owner.sigma_max:g}"
    return None if owner.sigma_min <= low < high <= owner.sigma_max else f"two increasing levels between {ends}"
