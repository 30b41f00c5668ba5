"""Solution flow models (SoFlow): Luo et al. 2025. A flow map without a derivative."""

import math
from dataclasses import dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.level_pairs import ENDS, PAIRS, flow_time, level_at, lognormal_pairs
from fewstep.diffusion.levels import NORMAL, SIGMA_MAX, SIGMA_MIN, lognormal_levels, per_sample
from fewstep.losses.balance import error_scale
from fewstep.losses.jumps import Jumps, flow_velocities, loss_by_share, mean_square, two_jumps
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, between, check_fields, inside, one_of, up_to

SCHEDULES = {  # of R over the training, from its start to its end; done: the share of the training that is over
    "constant": lambda start, end, done: end,
    "linear": lambda start, end, done: start + (end - start) * done,
    "cosine": lambda start, end, done: end + (start - end) * (1 + math.cos(math.pi * done)) / 2,
    "exponential": lambda start, end, done: start * (end / start) ** done,
}


@dataclass(frozen=True)
class SolutionFlow(Objective):
    """w/2 ||q||^2, q = (f(x_t, t, s) - sg f(x_l, l, s)) / (t - l), w = 1 / (||q||^2 + c)^p, l = t + (s - t) R.

    x_l is on the straight path of x_t to the data, and squares are means over dimensions. level_mean, level_std,
    next_mean, next_std, pairs: of the levels of t and s, as in lognormal_pairs, s at least least_gap below t; what lies
    beyond the ends of the noise becomes the end, so that t = 1 of the paper is sigma_max here. flow_share: of the rows
    that learn the velocity at t instead, by flow matching; flow_mean, flow_std: of their levels. ratio_start,
    ratio_end, schedule: of R, constant, linear, cosine or exponential; a constant one is ratio_end. error_constant,
    error_power: c and p.
    """

    numerics = 1

    level_mean: float = -0.9
    level_std: float = 1.6
    next_mean: float = -4.0
    next_std: float = 1.6
    pairs: str = "capped"
    least_gap: float = 1e-4
    flow_share: float = 0.0
    flow_mean: float = -0.2
    flow_std: float = 1.0
    ratio_start: float = 1.0
    ratio_end: float = 0.0003125
    schedule: str = "exponential"
    error_constant: float = 1e-3
    error_power: float = 0.75
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **ENDS, **PAIRS, schedule=one_of(*SCHEDULES), flow_share=between(0, 1))
        check_fields(self, flow_mean=NORMAL["level_mean"], flow_std=NORMAL["level_std"], least_gap=inside(0, 0.1))
        ratio = between(0, 1, open_low=True)
        check_fields(self, ratio_start=ratio, ratio_end=ratio)
        check_fields(self, error_constant=up_to(1e6, above(0)), error_power=between(0, 1))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        student, parts = cast(Trajectory, networks.student), rng.parted(self.flow_share)
        jumps = self.jumps(batch, parts[0], rng)
        jump_loss = partial(self.jump_loss, student, rng, self.ratio(progress))
        loss = loss_by_share(jumps, parts, partial(self.flow_loss, student, rng), jump_loss)
        return networks.at_levels(loss, jumps.sigma, jumps.sigma_next)

    def jumps(self, batch: Batch, flow_rows: Tensor, rng: TrainingRandomness) -> Jumps:
        """Points of the batch on paths to the data; these rows at the levels of flow matching."""
        x0 = batch.x0
        sigma, sigma_next = lognormal_pairs(self, rng)
        time = flow_time(sigma).clamp_min(self.sigma_min / (1 + self.sigma_min) + self.least_gap)
        sigma, sigma_next = level_at(time), torch.minimum(sigma_next, level_at(time - self.least_gap))
        if self.flow_share:
            matched = lognormal_levels(rng.normal(()), self.flow_mean, self.flow_std)
            matched = matched.clamp(self.sigma_min, self.sigma_max)
            sigma = sigma.index_copy(0, flow_rows, matched[flow_rows])
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        return Jumps(x, sigma, sigma_next, x0, batch.labels)

    def flow_loss(self, student: Trajectory, rng: TrainingRandomness, jumps: Jumps) -> Tensor:
        """Flow matching, [B]: s = t."""
        return self.weighted(*flow_velocities(student, jumps, rng))

    def jump_loss(self, student: Trajectory, rng: TrainingRandomness, ratio: float, jumps: Jumps) -> Tensor:
        """The square of q with the gradient of u alone, [B]: f = x + (s - t) u, so that q is the target less u."""
        path = student.velocity(jumps.x, jumps.sigma, jumps.denoised)
        with rng.dropout():
            velocity = student.average_velocity(jumps.x, jumps.sigma, jumps.sigma_next, jumps.labels)
        q = (two_jumps(student, jumps, path, ratio, rng) - velocity.detach()) / ratio
        return self.weighted(velocity, velocity.detach() + q) / 2

    def weighted(self, velocity: Tensor, target: Tensor) -> Tensor:
        """e / sg (e + c)^p, e the mean square, [B]."""
        error = mean_square(velocity, target)
        return error / error_scale(error, self.error_constant, self.error_power)

    def ratio(self, progress: Progress) -> float:
        """R of a step."""
        return SCHEDULES[self.schedule](self.ratio_start, self.ratio_end, progress.step / progress.total_steps)
