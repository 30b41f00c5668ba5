"""Truncated consistency models (TCM): Lee et al. 2024, the second stage. It starts from a student of ECT."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, SIGMA_MAX, SIGMA_MIN, log_student_levels, per_sample
from fewstep.losses.pairs import WEIGHTS, tuned_gap
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.support.checks import above, at_least, between, check_fields, inside, up_to, within
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


@dataclass(frozen=True)
class TruncatedConsistency(Objective):
    """w d(f(x0 + t z, t), sg f~(x0 + r z, r)), t from t' up, f~ below t' the frozen first stage and else f.

    transition: t'; boundary_share: of the samples, which have t = t' and learn the first stage's function there;
    boundary_weight: of their mean loss. level_df, level_mean, level_std: of Student's distribution of ln t for the
    others. q, k, b, num_stages: of r(t), as in easy_consistency_tuning; first_stage: with which its stages begin here.
    weight: of w, as in easy_consistency_tuning; distance: as in consistency_distillation.
    """

    numerics = 1

    transition: float = 1.0
    boundary_share: float = 0.25
    boundary_weight: float = 0.1
    level_df: float = 0.01
    level_mean: float = 0.0
    level_std: float = 0.2
    q: float = 2.0
    k: float = 8.0
    b: float = 1.0
    first_stage: int = 0
    num_stages: int = 8
    weight: str = "gap"
    distance: str | dict[str, Any] = "pseudo_huber"
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX

    needs_earlier = True
    preconditioner = "edm"

    def __post_init__(self):
        count = up_to(1e6, above(0))
        check_fields(self, **NORMAL, transition=inside("sigma_min", "sigma_max"), level_df=count)
        check_fields(self, boundary_share=within(0, 1), boundary_weight=up_to(1e6, at_least(0)))
        check_fields(self, q=up_to(1e6, above(1)), k=up_to(1e6, at_least(0)), b=between(-1e6, 1e6))
        check_fields(self, num_stages=count, first_stage=within(0, "num_stages"))
        check_name("weight", self.weight, WEIGHTS)

    @property
    def least_level(self) -> float:
        return self.transition

    def check_earlier(self, earlier: Objective) -> None:
        alike = (earlier.preconditioner, earlier.sampler) == (self.preconditioner, self.sampler)
        if not alike or earlier.least_level is not None:
            raise InvalidInput(
                "earlier must be a recipe of a consistency method over all levels, such as easy_consistency_tuning, "
                f"got one of {earlier.name}: below the transition its model is the consistency function."
            )

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, labels = batch.x0, batch.labels
        at_boundary = rng.uniform() < self.boundary_share
        sigma = self.levels(rng.uniform(), at_boundary).to(x0.dtype)
        gap = tuned_gap(sigma, self.curriculum(progress), self.q, self.k, self.b)
        noise = rng.normal(x0.shape[1:])
        x, x_next = (x0 + per_sample(level, x0) * noise for level in (sigma, sigma - gap))
        with torch.no_grad():
            target = self.truncated(networks, x_next, sigma - gap, labels, rng)
        with rng.dropout():
            estimate = networks.student(x, sigma, labels)
        divisor = WEIGHTS[self.weight](sigma, gap, networks.student.sigma_data)
        return networks.at_levels(networks.distance(estimate, target) * self.of_kind(at_boundary) / divisor, sigma)

    def levels(self, uniform: Tensor, at_boundary: Tensor) -> Tensor:
        """t, [B]."""
        law = self.level_df, self.level_mean, self.level_std
        drawn = log_student_levels(uniform, *law, low=self.transition, high=self.sigma_max)
        return torch.where(at_boundary, self.transition, drawn)

    def truncated(
        self, networks: Networks, x: Tensor, sigma: Tensor, labels: Tensor | None, rng: TrainingRandomness
    ) -> Tensor:
        """f~: the first stage below t', and from there on the student. Eq. 4."""
        with rng.dropout():
            own = networks.target(x, sigma, labels)
        return torch.where(per_sample(sigma, x) < self.transition, networks.before(x, sigma, labels), own)

    def of_kind(self, at_boundary: Tensor) -> Tensor:
        """Factors with which the mean over a batch is the others' mean + boundary_weight times that at t', [B]."""
        share = self.boundary_share
        return torch.where(at_boundary, self.boundary_weight / (share or 1), 1 / (1 - share))

    def curriculum(self, progress: Progress) -> int:
        """The stage, counted from 0."""
        return self.first_stage + (self.num_stages - self.first_stage) * progress.step // progress.total_steps
