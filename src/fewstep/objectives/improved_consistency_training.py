"""Improved consistency training (iCT): Song and Dhariwal 2023."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import (
    GRID,
    NORMAL,
    RHO,
    SIGMA_MAX,
    SIGMA_MIN,
    karras_levels,
    karras_neighbours,
    lognormal_intervals,
    pick,
)
from fewstep.losses.pairs import training_distance
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import between, check_fields, whole


@dataclass(frozen=True)
class ImprovedConsistencyTraining(Objective):
    """d(f(x0 + t_{i+1} z, t_{i+1}), sg f(x0 + t_i z, t_i)) / (t_{i+1} - t_i), on a grid that doubles.

    start_levels, end_levels: s0, s1; level_mean, level_std: of ln t, by which i is drawn; distance: as in
    consistency_distillation.
    """

    numerics = 1

    start_levels: int = 10
    end_levels: int = 1280
    level_mean: float = -1.1
    level_std: float = 2.0
    distance: str | dict[str, Any] = "pseudo_huber"  # with c = .00054 sqrt(d)
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    takes_augmentation = True

    def __post_init__(self):
        check_fields(self, **GRID, **NORMAL, end_levels=whole(between(1, 10**6)), start_levels=between(1, "end_levels"))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        num_levels, ends = self.num_levels(progress), (self.sigma_min, self.sigma_max, self.rho)
        intervals = lognormal_intervals(karras_levels(num_levels, *ends), self.level_mean, self.level_std)
        index = pick(intervals, rng.uniform())  # counted from sigma_max, unlike the paper's i
        sigma, sigma_next = karras_neighbours(index, 2, num_levels, *ends, like=batch.x0)
        return training_distance(networks, batch, sigma, sigma_next, rng) / (sigma - sigma_next)  # Section 3.1

    def num_levels(self, progress: Progress) -> int:
        """N(k) = min(s0 2^floor(k / K'), s1) + 1, equally long for each doubling. Section 3.4."""
        doublings = math.log2(self.end_levels // self.start_levels)
        length = max(1, math.floor(progress.total_steps / (doublings + 1)))  # K'; a short training has no 0
        return min(self.start_levels * 2 ** (progress.step // length), self.end_levels) + 1
