"""The EDM denoiser: Karras et al. 2022, Eq. 7 and Table 1."""

from torch import Tensor

from fewstep.diffusion.levels import per_sample
from fewstep.preconditioning.preconditioner import DENOISER, Preconditioner


class EDM(Preconditioner):
    """D(x, sigma) = c_skip x + c_out F(c_in x, c_noise); D(x, 0) = x.

    x: [B, ...]; sigma: [B], at least 0; labels: [B, classes] one-hot, a row of zeros for no label, or None.
    """

    boundary = 0.0
    samplers = DENOISER

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        level = per_sample(sigma, x)
        c_skip, c_out = self.scales(level)
        c_in = 1 / (level**2 + self.sigma_data**2).sqrt()
        c_noise = self.c_noise(sigma.to(x.dtype))
        return c_skip * x + c_out * self.network(c_in * x, c_noise, labels, **conditions)

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        """c_skip and c_out at a level."""
        variance = level**2 + self.sigma_data**2
        return self.sigma_data**2 / variance, level * self.sigma_data / variance.sqrt()
