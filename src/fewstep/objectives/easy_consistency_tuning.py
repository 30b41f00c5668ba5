"""Easy consistency tuning (ECT): Geng et al. 2024. It starts from an EDM model, whose D(x, 0) = x is the boundary."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, lognormal_levels
from fewstep.losses.pairs import WEIGHTS, training_distance, tuned_gap
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import above, at_least, between, check_fields, up_to
from fewstep.support.later import later
from fewstep.support.names import check_name


@dataclass(frozen=True)
class EasyConsistencyTuning(Objective):
    """w d(D(x0 + t z, t), sg D(x0 + r z, r)), ln t ~ N(level_mean, level_std^2), r nearer to t by stages.

    weight: of w, "gap" for 1 / (t - r), "edm" for (t^2 + sigma_data^2) / (t sigma_data)^2, which the authors take on
    ImageNet, or "c_out" for its root. q, k, b: of r(t); num_stages: equally long; distance: as in
    consistency_distillation. As D(x, 0) = x, the target is x0 where r = 0.
    """

    numerics = 1

    q: float = 2.0
    k: float = 8.0
    b: float = 1.0
    num_stages: int = 8
    level_mean: float = -1.1
    level_std: float = 2.0
    distance: str | dict[str, Any] = "pseudo_huber"
    weight: str = later("gap")

    preconditioner = "edm"
    takes_augmentation = True

    def __post_init__(self):
        check_name("weight", self.weight, WEIGHTS)
        check_fields(
            self,
            **NORMAL,
            q=up_to(1e6, above(1)),
            k=up_to(1e6, at_least(0)),
            b=between(-1e6, 1e6),
            num_stages=up_to(1e6, above(0)),
        )

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        sigma = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        gap = self.gap(sigma, progress)
        divisor = WEIGHTS[self.weight](sigma, gap, networks.student.sigma_data)
        return training_distance(networks, batch, sigma, sigma - gap, rng) / divisor

    def gap(self, sigma: Tensor, progress: Progress) -> Tensor:
        """t - r(t), [B]."""
        return tuned_gap(sigma, self.curriculum(progress), self.q, self.k, self.b)

    def curriculum(self, progress: Progress) -> int:
        """The stage, counted from 0."""
        return self.num_stages * progress.step // progress.total_steps
