"""A learned weight of each noise level."""

from torch import Tensor, nn

from fewstep.networks.embeddings import Fourier
from fewstep.networks.layers import Linear


class Weighting(nn.Module):
    """w of c_noise [B] -> [B], a linear layer on an embedding; it begins as 0. Karras et al. 2024."""

    def __init__(self, channels: int = 128):
        super().__init__()
        self.embed = Fourier(channels, scale=1.0)
        self.out = Linear(channels, 1, bias=False)
        nn.init.zeros_(self.out.weight)

    def forward(self, c_noise: Tensor) -> Tensor:
        return self.out(self.embed(c_noise)).squeeze(1)
