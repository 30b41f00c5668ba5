"""Continuous-time consistency models (sCT and sCD): Lu and Song 2024, Algorithm 1."""

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, lognormal_levels, per_sample
from fewstep.losses.tangents import TANGENT_NORMS, normalised, tangent_loss, warmed_up
from fewstep.networks.weighting import Weighting
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.preconditioning.trigflow import TrigFlow
from fewstep.support.checks import above, between, check_fields, up_to
from fewstep.support.later import later
from fewstep.support.names import check_name


@dataclass(frozen=True)
class ContinuousConsistency(Objective):
    """e^w / D ||F - sg F - g / (||g|| + c)||^2 - w, g = cos t df/dt along the teacher's velocity.

    level_mean, level_std: of ln sigma; from_data: the velocity is the data's (sCT), not the teacher's (sCD); warmup:
    the share of the training until g has the network's derivative whole (the paper's 10,000 of 400,000 iterations are
    0.025); tangent_constant: c; tangent_norm: l2, of the whole sample as in the paper, or rms, its root mean square, as
    in public code: c counts for more by sqrt(D) there.
    """

    numerics = 1

    level_mean: float = -1.0
    level_std: float = 1.4
    from_data: bool = False
    warmup: float = 0.025
    tangent_constant: float = 0.1
    tangent_norm: str = later("l2")

    preconditioner = "trigflow"

    def __post_init__(self):
        check_fields(self, **NORMAL, warmup=between(0, 1), tangent_constant=up_to(1e6, above(0)))
        check_name("tangent_norm", self.tangent_norm, TANGENT_NORMS)

    @property
    def needs_teacher(self) -> bool:
        return not self.from_data

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, student, labels = batch.x0, cast(TrigFlow, networks.student), batch.labels
        sigma = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():
            denoised = x0 if self.from_data else networks.denoise(x, sigma, labels)
        with rng.dropout():
            output, tangent = student.tangent(x, sigma, denoised, self.warmed_up(progress), labels)
        weight = networks.modules["weighting"](sigma.log() / 4)
        loss = tangent_loss(output, normalised(tangent, self.tangent_constant, self.tangent_norm), weight.to(x.dtype))
        return networks.at_levels(loss, sigma)

    def warmed_up(self, progress: Progress) -> float:
        """r, from 0 at first to 1."""
        return warmed_up(progress.step, progress.total_steps, self.warmup)

    def modules(self, student: Preconditioner, scale: float) -> dict[str, nn.Module]:
        return {"weighting": Weighting()}
