"""Flow-anchored consistency models (FACM): Peng et al. 2025."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.guidance import Guidance, draw_strength, guided, strength
from fewstep.diffusion.levels import NORMAL, arc_levels, per_sample
from fewstep.losses.balance import error_scale
from fewstep.objectives.objective import Batch, Networks, Objective, Progress
from fewstep.preconditioning.flow import Flow
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.support.checks import above, between, check_fields, up_to, within
from fewstep.support.errors import InvalidInput
from fewstep.support.later import later


@dataclass(frozen=True)
class FlowAnchoredConsistency(Objective):
    """A consistency loss by the derivative along a flow, and beside it the loss of the flow's own velocity, the anchor.

    level_mean, level_std: of tau in t = 1 - 2 / pi atan(e^tau); from_data: the velocity is the data's, not the
    teacher's; guidance: strength of the teacher's, 1 for none, or its least and its most: the student is told it;
    expanded_interval: the anchor's condition is 2 - t, else t as a second time; relaxation: alpha =
    1 - t^relaxation; error_constant, error_power: of the adaptive weight; guided_from: the teacher is guided at t above
    it alone, .125 in the authors' code.
    """

    numerics = 1

    level_mean: float = -0.8
    level_std: float = 1.6
    from_data: bool = False
    guidance: Guidance = 1.0
    expanded_interval: bool = False
    relaxation: float = 0.5
    error_constant: float = 1e-3
    error_power: float = 0.5
    guided_from: float = later(0.0)

    preconditioner = "flow"

    def __post_init__(self):
        check_fields(self, **NORMAL, guidance=strength)
        check_fields(
            self, relaxation=up_to(1e6, above(0)), error_constant=up_to(1e6, above(0)), error_power=between(0, 1)
        )
        check_fields(self, guided_from=within(0, 1))
        if self.from_data and self.guidance != 1:
            raise InvalidInput.of("guidance", self.guidance, "1 if from_data is true, since it is the teacher's")

    @property
    def needs_teacher(self) -> bool:
        return not self.from_data

    @property
    def second_time(self) -> bool:
        return not self.expanded_interval  # one of the two is the anchor's condition

    def check_student(self, student: Preconditioner) -> None:
        super().check_student(student)
        if self.expanded_interval and student.network.c_noise != "angle":
            raise InvalidInput(
                f"network.c_noise must be 'angle' if expanded_interval is true, got {student.network.c_noise!r}: "
                "only the angle is defined beyond the data."
            )

    def __call__(self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness) -> Tensor:
        x0, student = batch.x0, cast(Flow, networks.student)
        strength, labels = draw_strength(self.guidance, batch.labels, rng)
        sigma = arc_levels(rng.normal(()), self.level_mean, self.level_std)
        x = x0 + per_sample(sigma, x0) * rng.normal(x0.shape[1:])
        with torch.no_grad():
            denoised = x0 if self.from_data else self.guided_teacher(networks, x, sigma, batch.labels, strength)
            velocity = student.velocity(x, sigma, denoised)
        with rng.dropout():
            anchor = student.anchor(x, sigma, labels, self.expanded_interval)
        with rng.dropout():
            flow, derivative = student.derivative(x, sigma, denoised, labels)
        target = self.target(flow.detach(), velocity + derivative, student.time(sigma, x))
        error = (flow - target).square().flatten(1).mean(1)
        return networks.at_levels(anchor_loss(anchor, velocity) + self.weighted(error, sigma), sigma)

    def guided_teacher(
        self, networks: Networks, x: Tensor, sigma: Tensor, labels: Tensor | None, strength: float | Tensor
    ) -> Tensor:
        """The teacher's estimate of clean data, guided where t is above guided_from."""
        if self.guided_from and self.guidance != 1:
            strength = torch.as_tensor(strength, device=x.device).where(1 / (1 + sigma) > self.guided_from, 1.0)
        return guided(networks.denoise, x, sigma, labels, strength)

    def target(self, flow: Tensor, average: Tensor, t: Tensor) -> Tensor:
        """sg F - alpha clamp(sg F - v_bar, -1, 1); where that is not finite nothing is hidden by the clamp."""
        gap = flow - average
        return flow - (1 - t**self.relaxation) * (gap.clamp(-1, 1) + 0 * gap)

    def weighted(self, error: Tensor, sigma: Tensor) -> Tensor:
        """cos(pi t / 2) e / sg (e + c)^p, [B]."""
        t = 1 / (1 + sigma.to(error.dtype))
        return (math.pi / 2 * t).cos() * error / error_scale(error, self.error_constant, self.error_power)


def anchor_loss(flow: Tensor, velocity: Tensor) -> Tensor:
    """Mean square, and 1 - cosine of each pixel's channels (of one channel: of the whole sample, ours), [B]."""
    cosine = torch.cosine_similarity(*(v if v.shape[1] > 1 else v.flatten(1) for v in (flow, velocity)), dim=1)
    return (flow - velocity).square().flatten(1).mean(1) + 1 - cosine.view(len(flow), -1).mean(1)
