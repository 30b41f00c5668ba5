"""Slow copies of weights."""

import torch
from torch import nn


@torch.no_grad()
def update_average(average: nn.Module, module: nn.Module, decay: float):
    """average <- decay average + (1 - decay) module, all parameters in one fused call; buffers are copied."""
    torch._foreach_lerp_(list(average.parameters()), list(module.parameters()), 1 - decay)
    for mean, value in zip(average.buffers(), module.buffers(), strict=True):
        mean.copy_(value)
