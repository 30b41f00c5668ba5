"""What every preconditioner is."""

from typing import ClassVar

from torch import nn

from fewstep.networks.network import Network
from fewstep.preconditioning.noise_condition import noise_condition

# The names that samplers have as parameters: those of a denoiser, and those of a consistency function.
DENOISER = ("heun", "euler", "dpm_solver_2", "dpm_solver_3", "deis_3", "churn", "ancestral")
CONSISTENCY = ("multistep",)


class Preconditioner(nn.Module):
    """Base of the functions of (x, sigma, labels) around a network that estimate clean data.

    x: [B, ...], data of standard deviation sigma_data, plus noise. sigma: [B], its standard deviation. labels:
    [B, classes] one-hot, a row of zeros for no label, or None.
    boundary: the level at which the function gives x back. samplers: the samplers that take it, the usual one first.
    """

    samplers: ClassVar[tuple[str, ...]]
    network: Network
    sigma_data: float
    boundary: float

    def __init__(self, network: Network, sigma_data: float = 0.5):
        super().__init__()
        self.network, self.sigma_data = network, sigma_data
        self.c_noise = noise_condition(network, sigma_data)
