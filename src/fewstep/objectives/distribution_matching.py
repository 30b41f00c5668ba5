"""Distribution matching distillation (DMD): Yin et al. 2024a and 2024b (DMD2), without the regression on pairs."""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.guidance import guided
from fewstep.diffusion.levels import GRID, RHO, SIGMA_MAX, SIGMA_MIN, karras_level, per_sample, pick
from fewstep.losses.adversarial import deception_loss, judge_loss
from fewstep.networks.discriminator import Discriminator
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.edm import EDM
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.support.checks import above, at_least, between, check_fields, each, up_to, whole
from fewstep.support.errors import InvalidInput

SCORE, DISCRIMINATOR = "score", "discriminator"
LEAST = 1e-6  # beside the mean distance that a gradient is divided by


@dataclass(frozen=True)
class DistributionMatching(Objective):
    """Moves the student's samples along the difference of two scores: the teacher's, of data, and that of the samples.

    The score of the samples is a denoiser, which begins as the teacher and learns from the student's samples. Of
    student_every steps it learns in all but the last, and in this one the student does.

    student_every: 1 trains both in each step. guidance: strength of the teacher's. jumps: levels below sigma_max at
    which the student is called too, on its own samples with new noise, one jump after the other as when it is sampled;
    how many of them a batch makes is drawn. first, last: of Karras' grid, from sigma_max on, the part in which scores
    are compared. weighted: the denoiser's loss has EDM's weights. score_learning_rate: of the denoiser.
    gan: an adversarial loss beside, of weight gan_weight, by a discriminator that learns with the denoiser.
    """

    numerics = 1

    student_every: int = 5
    guidance: float = 1.0
    jumps: tuple[float, ...] = ()
    first: float = 0.02
    last: float = 0.98
    weighted: bool = True
    score_learning_rate: float = 1e-3
    gan: bool = False
    gan_weight: float = 3e-3
    gan_learning_rate: float = 2e-3
    gan_channels: int = 32
    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    needs_teacher = True
    has_idle_modules = True
    trained_beside = 1

    def __post_init__(self):
        object.__setattr__(self, "jumps", tuple(self.jumps))
        check_fields(self, **GRID, student_every=up_to(1000, whole(at_least(1))), guidance=up_to(1000, above(0)))
        check_fields(self, first=between(0, 1), last=between(0, 1))
        check_fields(self, score_learning_rate=up_to(1000, above(0)), gan_learning_rate=up_to(1000, above(0)))
        check_fields(self, gan_weight=up_to(1e6, at_least(0)), gan_channels=up_to(2**14, whole(above(0))))
        if self.jumps:
            check_fields(self, jumps=each(above(0)))
        if self.first >= self.last:
            raise InvalidInput.of("first", self.first, f"below last ({self.last:g})")
        if any(one <= other for one, other in zip((self.sigma_max, *self.jumps), self.jumps, strict=False)):
            raise InvalidInput.of("jumps", list(self.jumps), f"decreasing from below sigma_max ({self.sigma_max:g}) on")

    def __call__(
        self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness
    ) -> Tensor | dict[str, Tensor]:
        turn = (progress.step + 1) % self.student_every == 0
        samples = self.samples(networks, batch, rng, learns=turn)
        losses = {"student": torch.zeros(len(samples), device=samples.device)}
        if turn:
            losses["student"] = self.matching_loss(networks, samples, batch.labels, rng)
            if self.gan:
                deception = deception_loss(networks.modules[DISCRIMINATOR], samples, batch.labels)
                losses["student"] = losses["student"] + self.gan_weight * deception
        if not turn or self.student_every == 1:
            seen = samples.detach()
            losses[SCORE] = self.score_loss(networks, seen, batch.labels, rng)
            if self.gan:
                losses[DISCRIMINATOR] = judge_loss(networks.modules[DISCRIMINATOR], batch.x0, seen, batch.labels)
        return losses

    def samples(self, networks: Networks, batch: Batch, rng: TrainingRandomness, learns: bool) -> Tensor:
        """What the student makes of noise in one jump or several, of which the last has a gradient where it learns."""
        shape, count = batch.x0.shape[1:], len(batch.x0)
        made = int(pick(torch.ones(len(self.jumps) + 1), rng.shared())) if self.jumps else 0
        levels = [self.sigma_max, *self.jumps[:made]]
        x = torch.zeros_like(batch.x0)
        for place, level in enumerate(levels):
            x = x + level * rng.normal(shape)
            with torch.set_grad_enabled(learns and place == made), rng.dropout():
                x = networks.student(x, x.new_full((count,), level), batch.labels)
        return x

    def matching_loss(
        self, networks: Networks, samples: Tensor, labels: Tensor | None, rng: TrainingRandomness
    ) -> Tensor:
        """1/2 ||x - sg(x - g)||^2, whose gradient is g / D: Yin et al. 2024a, Eq. 7 and 8. [B]"""
        with torch.no_grad():
            x, sigma = self.perturbed(samples, rng)
            real = guided(networks.denoise, x, sigma, labels, self.guidance)
            with rng.dropout():
                fake = networks.modules[SCORE](x, sigma, labels)
            goal = samples - matching_gradient(samples, real, fake)
        return networks.at_levels(0.5 * (samples - goal).square().flatten(1).mean(1), sigma)

    def score_loss(self, networks: Networks, samples: Tensor, labels: Tensor | None, rng: TrainingRandomness) -> Tensor:
        """Denoising of the student's samples, [B]."""
        x, sigma = self.perturbed(samples, rng)
        with rng.dropout():
            denoised = networks.modules[SCORE](x, sigma, labels)
        loss = (denoised - samples).square().flatten(1).mean(1)
        sigma_data = networks.student.sigma_data
        weight = (sigma**2 + sigma_data**2) / (sigma * sigma_data) ** 2 if self.weighted else 1.0  # EDM, Table 1
        return networks.at_levels(weight * loss, sigma)

    def perturbed(self, samples: Tensor, rng: TrainingRandomness) -> tuple[Tensor, Tensor]:
        """Samples with noise, and its level, [B], uniform on a part of Karras' grid."""
        place = self.first + (self.last - self.first) * rng.uniform()
        sigma = karras_level(place, 2, self.sigma_min, self.sigma_max, self.rho).to(samples.dtype)
        return samples + per_sample(sigma, samples) * rng.normal(samples.shape[1:]), sigma

    def modules(self, student: Preconditioner, scale: float) -> dict[str, nn.Module]:
        network = student.network
        found: dict[str, nn.Module] = {SCORE: EDM(copy.deepcopy(network), student.sigma_data)}
        if self.gan:
            sizes = network.shape, network.embed.num_classes, self.gan_channels
            found[DISCRIMINATOR] = Discriminator(*sizes, None, scale)
        return found

    def begin(self, networks: Networks) -> None:
        assert networks.teacher is not None
        score, weights = networks.modules[SCORE].get_submodule("network"), networks.teacher.network.state_dict()
        if {key: t.shape for key, t in score.state_dict().items()} != {key: t.shape for key, t in weights.items()}:
            raise InvalidInput(
                "distribution_matching needs a student with its teacher's network, since a denoiser of the student's "
                "samples begins as the teacher."
            )
        score.load_state_dict(weights)

    def settings(self, module: str) -> dict[str, Any]:
        steady = {"learning_rate_decay": "constant", "learning_rate_reference": 0, "learning_rate_warmup": 0}
        if module == SCORE:
            return {**steady, "learning_rate": self.score_learning_rate}
        betas = {"optimizer": "radam", "betas": (0.5, 0.9), "weight_decay": 0.0}
        return {**steady, **betas, "learning_rate": self.gan_learning_rate}


def matching_gradient(samples: Tensor, real: Tensor, fake: Tensor) -> Tensor:
    """(D_fake - D_real) / mean |x - D_real|, of each sample: Yin et al. 2024a, Eq. 7 and 8. [B, ...] all.

    real, fake: what the teacher and the denoiser of the student's samples take the noisy samples for.
    """
    size = (samples - real).abs().flatten(1).mean(1) + LEAST
    return (fake - real) / per_sample(size, samples)
