"""Weights of losses: between two of them, by their gradients at the last layer; of a sample, by its own error."""

from collections.abc import Callable

import torch
from torch import Tensor


def adaptive_weight(
    reference: Tensor, loss: Tensor, last_layer: Tensor, mean_over_workers: Callable[[Tensor], Tensor]
) -> Tensor:
    """||grad mean(reference)|| / (||grad mean(loss)|| + 1e-4) at most 1e4, the gradients those of all workers.

    Esser et al. 2021, Eq. 7.

    reference, loss: [B], of one graph with last_layer, which stays for the backward pass.
    """
    first, second = (
        mean_over_workers(torch.autograd.grad(values.mean(), last_layer, retain_graph=True)[0]).norm()
        for values in (reference, loss)
    )
    return (first / (second + 1e-4)).clamp_max(1e4)


def linearised(loss: Tensor, at: Tensor) -> Tensor:
    """loss, [B], with its gradient by at, [B, ...], but without its graph from there on, which is gone through once."""
    (gradient,) = torch.autograd.grad(loss.sum(), at, retain_graph=True)
    return loss.detach() + ((at - at.detach()) * gradient).flatten(1).sum(1)


def error_scale(error: Tensor, constant: float, power: float) -> Tensor:
    """sg (e + c)^p, [B]: what an error is divided by so that large ones do not rule. Geng et al. 2025, Section 4.3."""
    return (error.detach() + constant) ** power
