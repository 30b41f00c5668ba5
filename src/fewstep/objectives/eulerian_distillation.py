"""Eulerian map distillation with autoguidance (AYF-EMD): Sabour et al. 2025, Section 3."""

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
from fewstep.losses.tangents import normalised, tangent_loss, warmed_up
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, between, check_fields, up_to
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class EulerianDistillation(Objective):
    """||u - sg(u + g / (||g|| + c))||^2, g = v - u - r (t - s) du/dt: for r = 1 the derivative of the jump's end by t.

    u is the average velocity of the jump to s, v that of the teachers: weak + autoguidance (strong - weak), 1 for the
    strong one alone. level_mean, level_std: of ln t; s has the same distribution, cut at t. warmup: the share of the
    training until r, which grows from 0, is tangent_share, which below 1 steadies the derivative. tangent_constant: c.
    """

    numerics = 1

    level_mean: float = -0.8
    level_std: float = 1.6
    autoguidance: float = 2.0
    warmup: float = 0.1
    tangent_share: float = 0.99
    tangent_constant: float = 0.1
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    needs_teacher = True
    needs_earlier = True  # the weak teacher
    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_fields(self, **NORMAL, autoguidance=between(1, 100), warmup=between(0, 1), tangent_share=between(0, 1))
        check_fields(self, **ENDS, tangent_constant=up_to(1e6, above(0)))

    def check_earlier(self, earlier: Objective) -> None:
        if earlier.name != "denoising":
            raise InvalidInput(
                f"earlier must be a weak teacher, such as {{like: teacher, training: {{images: 20000}}}}, got a recipe "
                f"of {earlier.name}."
            )

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, student, labels = batch.x0, cast(Trajectory, networks.student), batch.labels
        sigma, last = (level.to(x0.dtype) for level in self.levels(rng))
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():
            weak = networks.before(x, sigma, labels)
            denoised = weak + self.autoguidance * (networks.denoise(x, sigma, labels) - weak)
        with rng.dropout():
            velocity, derivative = student.derivative(x, sigma, last, denoised, labels)
        share = self.tangent_share * warmed_up(progress.step, progress.total_steps, self.warmup)
        tangent = student.velocity(x, sigma, denoised) - velocity.detach() - share * derivative
        loss = tangent_loss(velocity, normalised(tangent, self.tangent_constant), torch.zeros_like(sigma))
        return networks.at_levels(loss, sigma, last)

    def levels(self, rng: TrainingRandomness) -> tuple[Tensor, Tensor]:
        """t and s, [B] each."""
        law = self.level_mean, self.level_std
        sigma = lognormal_levels(rng.normal(()), *law).clamp(self.sigma_min, self.sigma_max)
        return sigma, lognormal_levels_between(rng.uniform(), *law, self.sigma_min, sigma)
