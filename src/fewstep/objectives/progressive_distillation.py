"""Progressive distillation (PD): Salimans and Ho 2022, in the coordinates of Song et al. 2023, Section 6."""

from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import GRID, RHO, SIGMA_MAX, SIGMA_MIN, karras_neighbours, per_sample
from fewstep.diffusion.solvers import euler_step
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import at_most, check_fields, power_of_two, up_to


@dataclass(frozen=True)
class ProgressiveDistillation(Objective):
    """max(1 / t^2, 1) ||D(x, t) - x~||^2, x~ such that one Euler step of the student is two of the teacher.

    start_steps, end_steps: of the first student and the last, powers of two; they are halved from stage to stage, each
    student the next one's teacher. The last two stages are twice as long as the others.

    The sampler's last step ends at the estimate of clean data. The authors' ends at sigma_min, which leaves noise of
    .002 in the samples: less than pictures of 8 bits resolve.
    """

    numerics = 1

    start_steps: int = 4096
    end_steps: int = 1
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    needs_teacher = True
    bears_bf16 = True
    preconditioner = "edm"
    sampler = "euler"

    def __post_init__(self):
        check_fields(self, **GRID, start_steps=up_to(2**20, power_of_two), end_steps=power_of_two)
        check_fields(self, end_steps=at_most("start_steps"))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, steps, ends = batch.x0, self.num_steps(progress), (self.sigma_min, self.sigma_max, self.rho)
        index = 2 * rng.integers(steps)
        sigma, middle, last = karras_neighbours(index, 3, 2 * steps + 1, *ends, like=x0)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():

            def teacher(x: Tensor, sigma: Tensor) -> Tensor:
                return networks.denoise(x, sigma, batch.labels)

            x_last = euler_step(teacher, euler_step(teacher, x, sigma, middle), middle, last)
            target = x - per_sample(sigma / (last - sigma), x) * (x_last - x)  # whose Euler step leads to x_last
        with rng.dropout():
            estimate = networks.student(x, sigma, batch.labels)
        weight = (1 / sigma**2).clamp_min(1)  # truncated SNR
        return networks.at_levels(networks.distance(estimate, target) * weight, sigma)

    def num_steps(self, progress: Progress) -> int:
        """Sampling steps of the student in this stage."""
        return self.start_steps >> bisect_right(self._ends(progress)[:-1], progress.step)

    def stage(self, progress: Progress) -> Progress:
        begin = max((end for end in self._ends(progress)[:-1] if end <= progress.step), default=0)
        end = min(end for end in self._ends(progress) if end > begin)
        size = progress.total_images // progress.total_steps
        return Progress(progress.step - begin, end - begin, progress.images - begin * size, (end - begin) * size)

    def _ends(self, progress: Progress) -> list[int]:
        """The step before which each stage ends."""
        count = (self.start_steps // self.end_steps).bit_length()
        lengths = [1] * (count - 2) + [2] * min(count, 2)
        return [progress.total_steps * units // sum(lengths) for units in accumulate(lengths)]
