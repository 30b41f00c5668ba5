"""Continuous-time consistency training (sCT): Lu and Song 2024, Algorithm 1."""

from dataclasses import dataclass

from onestep.diffusion.continuous import check_tangent, continuous_loss, tangent_warmup
from onestep.diffusion.levels import check_normal, lognormal_levels, per_sample
from onestep.networks.weighting import Weighting
from onestep.objectives.objective import Objective


@dataclass(frozen=True)
class ContinuousConsistencyTraining(Objective):
    """e^w / D ||F - sg F - g / (||g|| + c)||^2 - w, g = cos t df/dt along the data's velocity.

    level_mean, level_std: of ln sigma; warmup_steps: until g has the network's derivative whole; tangent_constant: c.
    """

    level_mean: float = -1.0
    level_std: float = 1.4
    warmup_steps: int = 10_000
    tangent_constant: float = 0.1

    preconditioner = "trigflow"

    def __post_init__(self):
        check_normal(self.level_mean, self.level_std)
        check_tangent(self.warmup_steps, self.tangent_constant)

    def __call__(self, networks, batch, progress, rng):
        sigma = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        x = batch.x0 + per_sample(sigma, batch.x0) * rng.normal(batch.x0.shape[1:])
        warmup = tangent_warmup(progress.step, self.warmup_steps)
        return continuous_loss(networks, x, sigma, batch.x0, batch.labels, warmup, self.tangent_constant, rng)

    def modules(self, student):
        return {"weighting": Weighting()}
