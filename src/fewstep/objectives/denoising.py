"""Denoising score matching, which trains the teacher: Karras et al. 2022, Table 1 and Section 5."""

from dataclasses import dataclass

from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, lognormal_levels, per_sample
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import check_fields


@dataclass(frozen=True)
class Denoising(Objective):
    """w ||D(x0 + sigma z, sigma) - x0||^2, ln sigma ~ N(level_mean, level_std^2).

    The norm is a mean over dimensions, where the paper's code sums: Adam's steps are the same, a clip is not.
    """

    numerics = 1

    level_mean: float = -1.2
    level_std: float = 1.2

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
        return networks.at_levels(weight * (denoised - batch.x0).square().flatten(1).mean(1), sigma)
