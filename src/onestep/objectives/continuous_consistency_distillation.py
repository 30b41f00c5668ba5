"""Continuous-time consistency distillation (sCD): Lu and Song 2024, Algorithm 1."""

from dataclasses import dataclass

import torch

from onestep.diffusion.continuous import check_tangent, continuous_loss, tangent_warmup
from onestep.diffusion.levels import check_normal, lognormal_levels, per_sample
from onestep.networks.weighting import Weighting
from onestep.objectives.objective import Objective


@dataclass(frozen=True)
class ContinuousConsistencyDistillation(Objective):
    """e^w / D ||F - sg F - g / (||g|| + c)||^2 - w, g = cos t df/dt along the teacher's velocity.

    level_mean, level_std: of ln sigma; warmup_steps: until g has the network's derivative whole; tangent_constant: c.
    """

    level_mean: float = -1.0
    level_std: float = 1.4
    warmup_steps: int = 10_000
    tangent_constant: float = 0.1

    needs_teacher = True
    preconditioner = "trigflow"

    def __post_init__(self):
        check_normal(self.level_mean, self.level_std)
        check_tangent(self.warmup_steps, self.tangent_constant)

    def __call__(self, networks, batch, progress, rng):
        sigma = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        x = batch.x0 + per_sample(sigma, batch.x0) * rng.normal(batch.x0.shape[1:])
        with torch.no_grad():
            denoised = networks.teacher(x, sigma, batch.labels)
        warmup = tangent_warmup(progress.step, self.warmup_steps)
        return continuous_loss(networks, x, sigma, denoised, batch.labels, warmup, self.tangent_constant, rng)

    def modules(self, student):
        return {"weighting": Weighting()}
