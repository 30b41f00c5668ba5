"""Consistency distillation (CD): Song et al. 2023, Algorithm 2."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import GRID, LEVELS, RHO, SIGMA_MAX, SIGMA_MIN, karras_neighbours, per_sample
from fewstep.diffusion.solvers import SOLVERS
from fewstep.losses.pairs import pair_distance
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import check_fields, within
from fewstep.support.names import check_name


@dataclass(frozen=True)
class ConsistencyDistillation(Objective):
    """d(f(x, t_{n+1}), f-(x^, t_n)), x^ one teacher step from x; n uniform, lambda = 1.

    num_levels: N; solver: of the teacher's step, euler or heun; distance: l1, l2, pseudo_huber, lpips, or a dictionary
    with its arguments; target_ema: mu, 0 for the student's own weights.
    """

    numerics = 1

    num_levels: int = 18
    solver: str = "heun"
    distance: str | dict[str, Any] = "l2"
    target_ema: float = 0.0
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    needs_teacher = True

    def __post_init__(self):
        check_name("solver", self.solver, SOLVERS)
        check_fields(self, **GRID, num_levels=LEVELS, target_ema=within(0, 1))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, ends = batch.x0, (self.sigma_min, self.sigma_max, self.rho)
        index = rng.integers(self.num_levels - 1)  # counted from sigma_max, unlike the paper's n
        sigma, sigma_next = karras_neighbours(index, 2, self.num_levels, *ends, like=x0)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():

            def teacher(x: Tensor, sigma: Tensor) -> Tensor:
                return networks.denoise(x, sigma, batch.labels)

            x_next = SOLVERS[self.solver](teacher, x, sigma, sigma_next)  # Eq. 6
        return pair_distance(networks, x, sigma, x_next, sigma_next, batch.labels, rng)  # Eq. 7

    def target_decay(self, progress: Progress) -> float | None:
        return self.target_ema or None  # Eq. 8
