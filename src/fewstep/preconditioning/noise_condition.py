"""What a network is told of the noise level: c_noise, a function of sigma that the network's weights were made for."""

import torch
from torch import Tensor, nn

from fewstep.support.names import check_name


class LogLevel(nn.Module):
    """ln(sigma) / 4: Karras et al. 2022, Table 1."""

    def __init__(self, sigma_data: float):
        super().__init__()

    def forward(self, sigma: Tensor) -> Tensor:
        return sigma.clamp_min(torch.finfo(sigma.dtype).tiny).log() / 4


class Angle(nn.Module):
    """t = atan(sigma / sigma_data), from 0 to pi / 2: Lu and Song 2024, Section 4.1."""

    def __init__(self, sigma_data: float):
        super().__init__()
        self.sigma_data = sigma_data

    def forward(self, sigma: Tensor) -> Tensor:
        return (sigma / self.sigma_data).atan()


NOISE_CONDITIONS = {"log": LogLevel, "angle": Angle}


def noise_condition(network: nn.Module, sigma_data: float) -> nn.Module:
    """The c_noise that a network wants, by the argument of that name that it was built with.

    Raises ValueError for one that there is not.
    """
    return NOISE_CONDITIONS[check_name("c_noise", getattr(network, "c_noise", "log"), NOISE_CONDITIONS)](sigma_data)
