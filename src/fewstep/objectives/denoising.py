"""Denoising score matching, which trains the teacher: Karras et al. 2022, Table 1 and Section 5."""

from dataclasses import dataclass

from torch import Tensor, nn

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, lognormal_levels, per_sample
from fewstep.networks.weighting import LogVariance
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.support.checks import check_fields
from fewstep.support.later import later


@dataclass(frozen=True)
class Denoising(Objective):
    """w ||D(x0 + sigma z, sigma) - x0||^2, ln sigma ~ N(level_mean, level_std^2).

    The norm is a mean over dimensions, where the paper's code sums: Adam's steps are the same, a clip is not.
    log_variance: the loss of a level is w ||...||^2 / e^u + u, u a function of the level that is learned beside the
    network, so that every level has gradients of the same size (Karras et al. 2024, Eq. 15).
    """

    numerics = 1

    level_mean: float = -1.2
    level_std: float = 1.2
    log_variance: bool = later(False)

    preconditioner = "edm"
    sampler = "heun"
    bears_bf16 = True
    takes_augmentation = True

    def __post_init__(self):
        check_fields(self, **NORMAL)

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        sigma = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        x = batch.x0 + per_sample(sigma, batch.x0) * rng.normal(batch.x0.shape[1:])
        sigma_data = networks.student.sigma_data
        weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2  # Table 1, loss weighting
        with rng.dropout():
            denoised = networks.student(x, sigma, batch.labels, **batch.conditions)
        loss = weight * (denoised - batch.x0).square().flatten(1).mean(1)
        if self.log_variance:
            u = networks.modules["log_variance"](sigma.log() / 4)
            loss = loss / u.exp() + u
        return networks.at_levels(loss, sigma)

    def modules(self, student: Preconditioner, scale: float) -> dict[str, nn.Module]:
        return {"log_variance": LogVariance()} if self.log_variance else {}
