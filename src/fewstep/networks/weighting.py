"""Learned weights of each noise level."""

import torch
from torch import Tensor, nn

from fewstep.networks.embeddings import Fourier
from fewstep.networks.layers import Linear
from fewstep.networks.magnitude import MPFourier, MPLinear


class Weighting(nn.Module):
    """w of c_noise [B] -> [B], a linear layer on an embedding; it begins as 0. Karras et al. 2024."""

    def __init__(self, channels: int = 128):
        super().__init__()
        self.embed = Fourier(channels, scale=1.0)
        self.out = Linear(channels, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, c_noise: Tensor) -> Tensor:
        return self.out(self.embed(c_noise)).squeeze(1)


class LogVariance(nn.Module):
    """u of c_noise [B] -> [B], the logarithm of the loss that is expected: Karras et al. 2024, Eq. 14."""

    def __init__(self, channels: int = 128):
        super().__init__()
        self.embed = MPFourier(channels)
        self.out = MPLinear(channels, 1)

    def forward(self, c_noise: Tensor) -> Tensor:
        precision = torch.promote_types(self.out.weight.dtype, torch.float32)
        return self.out(self.embed(c_noise.to(precision))).squeeze(1)
