"""Consistency trajectory models (CTM): Kim et al. 2024, Algorithm 1."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import torch
from torch import Tensor, nn

from fewstep.diffusion.functions import LabelledDenoiser, TrainingRandomness
from fewstep.diffusion.guidance import Guidance, draw_strength, guided, strength
from fewstep.diffusion.levels import (
    GRID,
    LEVELS,
    NORMAL,
    RHO,
    SIGMA_MAX,
    SIGMA_MIN,
    karras_level,
    karras_neighbours,
    lognormal_levels,
    per_sample,
    pick,
)
from fewstep.diffusion.solvers import SOLVERS
from fewstep.losses.adversarial import deception_loss, judge_loss
from fewstep.losses.balance import adaptive_weight, linearised
from fewstep.networks.discriminator import Discriminator, check_backbone
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.support.checks import above, at_least, check_fields, inside, up_to, within
from fewstep.support.later import later
from fewstep.support.names import check_name

HIGH_PART = 0.7  # of the grid from sigma_max on: from there half of the denoising levels are


@dataclass(frozen=True)
class ConsistencyTrajectory(Objective):
    """Jumps from t to s, equal to the teacher's way from t to u and the target's jump from u to s; and the score.

    num_levels, solver, distance: as in consistency_distillation; solver_steps: the most from t to u, drawn for the
    whole batch in proportion to their number; target_ema: above 0; level_mean, level_std: of one half of the levels of
    the denoising term; denoising: its weight, times the adaptive one, 0 for none; guidance: strength of the teacher's,
    1 for none, which jumps then have and the denoiser has not; or its least and its most: the student is told it.
    gan: an adversarial loss from the fraction gan_start of the training on, in every step (the authors' code:
    discriminator and student in turns, random augmentations); gan_weight: as denoising; gan_backbone: the file of
    VGG16's ImageNet weights, in place of features that are trained.
    inner_jump: whose jump leads the goal from u to s, without gradient: the target's, as in the paper, or the student's
    own, the default of the authors' code.
    """

    numerics = 1

    num_levels: int = 18
    solver: str = "heun"
    solver_steps: int = 17
    distance: str | dict[str, Any] = "pseudo_huber"
    target_ema: float = 0.999
    level_mean: float = -1.2
    level_std: float = 1.2
    denoising: float = 1.0
    guidance: Guidance = 1.0
    gan: bool = False
    gan_start: float = 0.5
    gan_weight: float = 1.0
    gan_learning_rate: float = 2e-3
    gan_channels: int = 32
    gan_backbone: str | None = None
    inner_jump: str = later("target")
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    needs_teacher = True
    second_time = True  # where a jump ends
    preconditioner = "trajectory"
    sampler = "gamma"

    def __post_init__(self):
        check_name("solver", self.solver, SOLVERS)
        check_name("inner_jump", self.inner_jump, ("student", "target"))
        check_fields(self, **GRID, **NORMAL, num_levels=LEVELS, solver_steps=within(1, "num_levels"))
        check_fields(self, target_ema=inside(0, 1), denoising=up_to(1e6, at_least(0)), guidance=strength)
        check_fields(self, gan_start=within(0, 1), gan_weight=up_to(1e6, at_least(0)))
        check_fields(self, gan_learning_rate=up_to(1000, above(0)), gan_channels=up_to(2**14, above(0)))

    @property
    def has_idle_modules(self) -> bool:
        return self.gan

    @property
    def needs_whole_batch(self) -> bool:
        return self.denoising > 0 or self.gan  # their weights are of the whole batch's gradients

    def check_student(self, student: Preconditioner) -> None:
        super().check_student(student)
        if self.gan and self.gan_backbone:
            check_backbone(self.gan_backbone, student.network.shape)

    def __call__(
        self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness
    ) -> Tensor | dict[str, Tensor]:
        soft, jump, estimate = self.soft_consistency(networks, batch, rng)
        loss = soft
        if self.denoising:
            score = self.denoising_loss(networks, batch, rng)
            loss = loss + self.denoising * self.weight(networks, soft, score) * score  # Eq. 11
        if not self.is_adversarial(progress):
            return loss
        discriminator = networks.modules["discriminator"]
        deception = linearised(deception_loss(discriminator, estimate, batch.labels), jump)
        weight = self.weight(networks, soft, deception).clamp(0.01, 10)
        judged = judge_loss(discriminator, batch.x0, estimate, batch.labels)
        return {"student": loss + self.gan_weight * weight * deception, "discriminator": judged}

    def soft_consistency(
        self, networks: Networks, batch: Batch, rng: TrainingRandomness
    ) -> tuple[Tensor, Tensor, Tensor]:
        """The distance at the boundary of a jump from t to s and of its target, [B]; the jump; where it led there."""
        x0, target = batch.x0, networks.target
        strength, labels = draw_strength(self.guidance, batch.labels, rng)
        inner = networks.student if self.inner_jump == "student" else target
        first, *between, middle, last = self.levels(rng, x0)
        x = x0 + per_sample(first, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():
            x_middle = self.solve(networks.denoise, x, [first, *between, middle], batch.labels, strength)
            with rng.dropout():
                goal = inner(x_middle, middle, labels, sigma_next=last)
            with rng.dropout():
                goal = target(goal, last, labels)
        with rng.dropout():
            jump = networks.student(x, first, labels, sigma_next=last)
        with rng.dropout():
            estimate = target(jump, last, labels)
        soft = linearised(networks.distance(estimate, goal), jump)
        return networks.at_levels(soft, last, first), jump, estimate

    def levels(self, rng: TrainingRandomness, like: Tensor) -> list[Tensor]:
        """The levels of the solver from t down to u, then s, of each sample: t and s uniform where they can be."""
        shares = torch.arange(1, self.solver_steps + 1, dtype=torch.float64)
        steps = int(pick(shares, rng.shared())) + 1
        ends = (self.sigma_min, self.sigma_max, self.rho)
        index = (rng.uniform().double() * (self.num_levels - steps)).long()
        middle = index + steps
        last = middle + (rng.uniform().double() * (self.num_levels - middle)).long()
        return [
            *karras_neighbours(index, steps + 1, self.num_levels, *ends, like=like),
            *karras_neighbours(last, 1, self.num_levels, *ends, like=like),
        ]

    def solve(
        self,
        teacher: LabelledDenoiser,
        x: Tensor,
        levels: list[Tensor],
        labels: Tensor | None,
        strength: float | Tensor = 1.0,
    ) -> Tensor:
        """The teacher's way through these levels, guided by labels."""

        def denoiser(x: Tensor, sigma: Tensor) -> Tensor:
            return guided(teacher, x, sigma, labels, strength)

        for level, level_next in pairwise(levels):
            x = SOLVERS[self.solver](denoiser, x, level, level_next)
        return x

    def denoising_loss(self, networks: Networks, batch: Batch, rng: TrainingRandomness) -> Tensor:
        """EDM's loss of g(x, t, t), [B]."""
        x0, student = batch.x0, cast(Trajectory, networks.student)
        sigma = self.denoising_levels(rng).to(x0.dtype)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with rng.dropout():
            denoised = student.denoiser(x, sigma, batch.labels)
        weight = (sigma**2 + student.sigma_data**2) / (sigma * student.sigma_data) ** 2
        return networks.at_levels(weight * (denoised - x0).square().flatten(1).mean(1), sigma)

    def denoising_levels(self, rng: TrainingRandomness) -> Tensor:
        """Half of them lognormal, half uniform on the grid's high part. Appendix of the paper, and its code."""
        lognormal = lognormal_levels(rng.normal(()), self.level_mean, self.level_std)
        high = karras_level(HIGH_PART * rng.uniform(), 2, self.sigma_min, self.sigma_max, self.rho)
        return high.to(lognormal.dtype).where(rng.uniform() < 0.5, lognormal)

    def weight(self, networks: Networks, reference: Tensor, loss: Tensor) -> Tensor:
        last_layer = networks.student.network.last_layer
        return adaptive_weight(reference, loss, last_layer, networks.mean_over_workers)

    def is_adversarial(self, progress: Progress) -> bool:
        return self.gan and progress.images >= self.gan_start * progress.total_images

    def modules(self, student: Preconditioner, scale: float) -> dict[str, nn.Module]:
        if not self.gan:
            return {}
        network = student.network
        sizes = (network.shape, network.embed.num_classes, self.gan_channels)
        return {"discriminator": Discriminator(*sizes, self.gan_backbone, scale)}

    def settings(self, module: str) -> dict[str, Any]:
        return {
            "optimizer": "radam",
            "learning_rate": self.gan_learning_rate,
            "learning_rate_decay": "constant",
            "learning_rate_reference": 0,
            "learning_rate_warmup": 0,
            "betas": (0.5, 0.9),
            "weight_decay": 0.0,
        }

    def target_decay(self, progress: Progress) -> float | None:
        return self.target_ema
