"""Consistency mid-training (CMT): Hu et al. 2025. A stage between a teacher and a consistency method."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import GRID, RHO, SIGMA_MAX, SIGMA_MIN, karras_levels, per_sample
from fewstep.diffusion.solvers import SOLVERS
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import at_least, check_fields, up_to, whole
from fewstep.support.names import check_name


@dataclass(frozen=True)
class ConsistencyMidTraining(Objective):
    """d(f(x_t, t), sg x_0), x_t each point of the teacher's trajectory from pure noise, x_0 its end.

    points: of a trajectory, at the levels of a grid, which as many samples one after another share; solver: of the
    steps between them; the last step, to 0, is the teacher's estimate. distance: as in consistency_distillation. No
    data are looked at.
    """

    numerics = 2  # 1: each sample of a trajectory was told its own label
    grouped_by = "points"

    points: int = 8
    solver: str = "heun"
    distance: str | dict[str, Any] = "l2"
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    needs_teacher = True
    bears_bf16 = True
    preconditioner = "edm"

    def __post_init__(self):
        check_name("solver", self.solver, SOLVERS)
        check_fields(self, **GRID, points=up_to(2**10, whole(at_least(2))))

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        noise = rng.normal(batch.x0.shape[1:])[:: self.points]
        grid = karras_levels(self.points, self.sigma_min, self.sigma_max, self.rho).to(noise)
        labels = None if batch.labels is None else batch.labels[:: self.points]  # all of a trajectory have its first
        with torch.no_grad():
            x, end = self.trajectory(networks, noise, grid, labels)
        sigma, told = grid.repeat(len(noise)), None if labels is None else labels.repeat_interleave(self.points, 0)
        with rng.dropout():
            estimate = networks.student(x, sigma, told)
        return networks.at_levels(networks.distance(estimate, end), sigma)

    def trajectory(
        self, networks: Networks, noise: Tensor, grid: Tensor, labels: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The points of each trajectory, one after another, and for each its end, [B, ...].

        noise: [B / points, ...]. labels: [B / points, classes] or None.
        """

        def teacher(x: Tensor, sigma: Tensor) -> Tensor:
            return networks.denoise(x, sigma, labels)

        levels = [level.expand(len(noise)) for level in grid]
        points = [per_sample(levels[0], noise) * noise]
        for level, level_next in pairwise(levels):
            points.append(SOLVERS[self.solver](teacher, points[-1], level, level_next))
        end = teacher(points[-1], levels[-1])
        return torch.stack(points, 1).flatten(0, 1), end.repeat_interleave(self.points, 0)
