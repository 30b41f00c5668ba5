"""Classifier-free guidance: Ho and Salimans 2022."""

from torch import Tensor


def guided(denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None, strength: float) -> Tensor:
    """D(no label) + strength (D(labels) - D(no label)); one pass where the strength is 1, else two.

    denoiser: a function of (x, sigma, labels), trained with label dropout. labels: one-hot.
    """
    denoised = denoiser(x, sigma, labels)
    if strength == 1:
        return denoised
    return denoised.lerp(denoiser(x, sigma, labels * 0), 1 - strength)
