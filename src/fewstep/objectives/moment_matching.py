"""Inductive moment matching (IMM): Zhou et al. 2025, Algorithm 1."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.level_pairs import ENDS
from fewstep.diffusion.levels import (
    NORMAL,
    SIGMA_MAX,
    SIGMA_MIN,
    lognormal_levels,
    lognormal_levels_between,
    per_sample,
)
from fewstep.losses.moments import moment_discrepancy, of_group
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, between, check_fields, one_of, up_to, whole

PARAMETRISATIONS = {"edm": "trajectory", "euler": "euler_trajectory"}  # the preconditioner of each


@dataclass(frozen=True)
class MomentMatching(Objective):
    """w MMD^2 of G(x_t, t, s) and sg G(x_r, r, s), each of `particles` samples; r a little below t, x_r of one noise.

    level_mean, level_std: of ln t; s has the same distribution, cut at t. particles: samples one after another that
    share t, r and s. halvings: k of t - r = (sigma_max - sigma_min) / 2^k, r not below s. weight_shift, weight_power: b
    and a of w. parametrisation: what the network is in G: edm, or euler, the linear flow's velocity.
    """

    numerics = 1
    grouped_by = "particles"

    level_mean: float = -1.8
    level_std: float = 2.0
    particles: int = 4
    halvings: int = 12
    weight_shift: float = 5.0
    weight_power: int = 1
    parametrisation: str = "edm"
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    second_time = True  # where a jump ends
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **NORMAL, particles=up_to(2**10, whole(above(0))), halvings=whole(between(1, 40)))
        check_fields(self, weight_shift=between(-100, 100), weight_power=one_of(1, 2))
        check_fields(self, **ENDS, parametrisation=one_of(*PARAMETRISATIONS))

    @property
    def preconditioner(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] (each has its own)
        return PARAMETRISATIONS[self.parametrisation]

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, student = batch.x0, cast(Trajectory, networks.student)
        sigma, middle, last = (level.to(x0.dtype) for level in self.levels(rng))
        noise = rng.normal(x0.shape[1:])
        x, x_middle = (x0 + per_sample(level, x0) * noise for level in (sigma, middle))  # DDIM from t to r: Eq. 6
        with torch.no_grad(), rng.dropout():
            goal = networks.target(x_middle, middle, batch.labels, sigma_next=last)
        with rng.dropout():
            jump = student(x, sigma, batch.labels, sigma_next=last)
        scale = student.reach(sigma, last).abs()[:: self.particles].clamp_min(torch.finfo(x0.dtype).tiny)
        a, b = (particles.flatten(1).unflatten(0, (-1, self.particles)) for particles in (jump, goal))
        found = moment_discrepancy(a, b, scale).repeat_interleave(self.particles)
        return networks.at_levels(found * self.weight(sigma, student.sigma_data), sigma)

    def levels(self, rng: TrainingRandomness) -> tuple[Tensor, Tensor, Tensor]:
        """t, r and s, [B] each, float64: those of a group are the same."""
        ends = self.sigma_min, self.sigma_max
        normal, uniform = (of_group(drawn.double(), self.particles) for drawn in (rng.normal(()), rng.uniform()))
        sigma = lognormal_levels(normal, self.level_mean, self.level_std).clamp(*ends)
        last = lognormal_levels_between(uniform, self.level_mean, self.level_std, self.sigma_min, sigma)
        gap = (self.sigma_max - self.sigma_min) / 2**self.halvings  # Section 4.1: eta is sigma in another unit
        return sigma, torch.maximum(sigma - gap, last), last

    def weight(self, sigma: Tensor, sigma_data: float) -> Tensor:
        """w = 1/2 sigmoid(b - lambda) (-dlambda/dt) alpha^a / (alpha^2 + t^2), alpha = 1 - t, [B]. Eq. 13.

        t = sigma / (sigma + sigma_data), the linear flow's, and lambda = 2 ln(alpha / t).
        """
        t = sigma / (sigma + sigma_data)
        alpha = 1 - t
        signal = (self.weight_shift - 2 * (alpha / t).log()).sigmoid()
        return signal / (t * alpha) * alpha**self.weight_power / (alpha**2 + t**2)
