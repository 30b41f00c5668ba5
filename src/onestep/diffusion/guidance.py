"""Classifier-free guidance: Ho and Salimans 2022."""

import torch
from torch import Tensor


def guided(denoiser, x: Tensor, sigma: Tensor, labels: Tensor | None, strength: float) -> Tensor:
    """D(no label) + strength (D(labels) - D(no label)), both in one pass of twice the batch; where it is 1, D(labels).

    denoiser: a function of (x, sigma, labels), trained with label dropout. labels: one-hot.
    """
    if strength == 1:
        return denoiser(x, sigma, labels)
    both = (torch.cat(pair) for pair in ((x, x), (sigma, sigma), (labels, torch.zeros_like(labels))))
    denoised, unlabelled = denoiser(*both).chunk(2)
    return unlabelled.lerp(denoised, strength)
