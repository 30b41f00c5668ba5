"""Consistency training (CT): Song et al. 2023, Algorithm 3."""

import math
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import GRID, LEVELS, RHO, SIGMA_MAX, SIGMA_MIN, karras_neighbours
from fewstep.losses.pairs import training_distance
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import between, check_fields, within


@dataclass(frozen=True)
class ConsistencyTraining(Objective):
    """d(f(x0 + t_{n+1} z, t_{n+1}), f-(x0 + t_n z, t_n)), n uniform, lambda = 1, on a grid that grows.

    start_levels, end_levels: s0, s1; start_ema: mu0, 0 for a target that is always the student's own weights; distance:
    as in consistency_distillation.
    """

    numerics = 1

    start_levels: int = 2
    end_levels: int = 150
    start_ema: float = 0.9
    distance: str | dict[str, Any] = "l2"
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    takes_augmentation = True

    def __post_init__(self):
        check_fields(self, **GRID, end_levels=LEVELS, start_levels=between(2, "end_levels"), start_ema=within(0, 1))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        num_levels, ends = self.num_levels(progress), (self.sigma_min, self.sigma_max, self.rho)
        index = rng.integers(num_levels - 1)  # counted from sigma_max, unlike the paper's n
        sigma, sigma_next = karras_neighbours(index, 2, num_levels, *ends, like=batch.x0)
        return training_distance(networks, batch, sigma, sigma_next, rng)  # Eq. 10

    def num_levels(self, progress: Progress) -> int:
        """N(k), from s0 to s1 + 1. Appendix C."""
        first, last = self.start_levels**2, (self.end_levels + 1) ** 2
        return math.ceil(math.sqrt(progress.step / progress.total_steps * (last - first) + first) - 1) + 1

    def target_decay(self, progress: Progress) -> float | None:
        """mu(k) = exp(s0 ln mu0 / N(k)). Appendix C."""
        return self.start_ema ** (self.start_levels / self.num_levels(progress)) or None
