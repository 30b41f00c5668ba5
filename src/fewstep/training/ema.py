"""Slow copies of weights."""

import copy
from typing import TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)


def frozen_copy(module: M) -> M:
    """A copy that no gradient reaches."""
    return copy.deepcopy(module).requires_grad_(False)


class Average:
    """average <- decay average + (1 - decay) module, all parameters in one fused pass.

    It is a step of gradient ascent with weight decay, a + (1 - decay) (w - a), because fused optimisers are the only
    passes over all weights that a flag on the device can skip. Buffers do not change in a training, and stay.
    """

    def __init__(self, average: nn.Module):
        self.weights = list(average.parameters())
        # lr is set before each step.
        self._ascent = torch.optim.SGD(self.weights, lr=1.0, weight_decay=1.0, maximize=True, fused=True)

    def update(self, module: nn.Module, decay: float, skip: Tensor | None = None) -> None:
        """skip: on the device, 1.0 to leave the average as it is."""
        for mean, value in zip(self.weights, module.parameters(), strict=True):
            mean.grad = value.detach()
        step_unless(skip, self._ascent, 1 - decay)


def step_unless(skip: Tensor | None, optimizer: torch.optim.Optimizer, learning_rate: float) -> None:
    """A step of a fused optimiser, which leaves weights and state alone if `skip`, on the device, is 1.0."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate
    optimizer.found_inf = skip  # pyright: ignore[reportAttributeAccessIssue] -- torch.amp.GradScaler's own way
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
