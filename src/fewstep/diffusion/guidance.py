"""Classifier-free guidance: Ho and Salimans 2022."""

import torch
from torch import Tensor

from fewstep.diffusion.functions import LabelledDenoiser, TrainingRandomness
from fewstep.diffusion.levels import per_sample
from fewstep.support.checks import above, up_to

STRONGEST = 1000.0
Guidance = float | tuple[float, float]  # of a recipe: one strength, or the ends between which it is drawn


def guided(
    denoiser: LabelledDenoiser, x: Tensor, sigma: Tensor, labels: Tensor | None, strength: float | Tensor
) -> Tensor:
    """D(no label) + strength (D(labels) - D(no label)), both in one pass of twice the batch; where it is 1, D(labels).

    denoiser: a function of (x, sigma, labels), trained with label dropout. labels: one-hot. strength: of all, or [B].
    """
    if isinstance(strength, Tensor):
        strength = per_sample(strength, x)
    elif strength == 1:
        return denoiser(x, sigma, labels)
    assert labels is not None  # a network without labels has nothing to be guided by
    both, levels = torch.cat([x, x]), torch.cat([sigma, sigma])
    denoised, unlabelled = denoiser(both, levels, torch.cat([labels, torch.zeros_like(labels)])).chunk(2)
    return unlabelled.lerp(denoised, strength)


def own_guided(
    denoiser: LabelledDenoiser,
    x: Tensor,
    sigma: Tensor,
    labels: Tensor | None,
    denoised: Tensor,
    weights: tuple[float, float],
    levels: tuple[float, float],
) -> Tensor:
    """omega x0 + kappa D(labels) + (1 - omega - kappa) D(no label), x0 = denoised: guidance in a student's own target.

    denoiser: the student's, whose passes are apart, so that they may share a dropout mask. weights: omega, kappa.
    levels: the least and the most at which a target is guided; elsewhere, and in rows without a label, it is x0.
    The velocity of a target is affine in it, so this is Geng et al. 2025, Section 4.2, with their kappa.
    """
    omega, kappa = weights
    if weights == (1, 0):
        return denoised
    assert labels is not None
    target = omega * denoised + (1 - omega - kappa) * denoiser(x, sigma, torch.zeros_like(labels))
    if kappa:
        target = target + kappa * denoiser(x, sigma, labels)
    low, high = levels
    wanted = (low <= sigma) & (sigma <= high) & (labels != 0).any(1)
    return target.where(wanted.view(-1, *[1] * (x.ndim - 1)), denoised)


def draw_strength(
    guidance: Guidance, labels: Tensor | None, rng: TrainingRandomness
) -> tuple[float | Tensor, Tensor | None]:
    """The teacher's strength, of all or [B] where it is drawn, and the labels that the student is told it by.

    A student learns a range of strengths by the length of its label's row: none for no label, 1 for the label as it
    is, w for strength w (ours; Meng et al. 2023 embed it as they do the time).
    """
    if isinstance(guidance, int | float):
        return guidance, labels
    assert labels is not None
    low, high = guidance
    strength = low + (high - low) * rng.uniform()
    return strength, strength[:, None] * labels


def strength(guidance: Guidance, _owner: object = None) -> str | None:
    """A check: a strength above 0, or a range of them that holds 1, the label as it is."""
    if isinstance(guidance, int | float):
        return up_to(STRONGEST, above(0))(guidance, None)
    low, high = guidance
    return None if 0 <= low <= 1 <= high <= STRONGEST and low < high else "a range that includes 1, such as [1, 3]"
