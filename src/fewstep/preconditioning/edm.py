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
        level, variance = per_sample(sigma, x), per_sample(sigma, x) ** 2 + self.sigma_data**2
        c_skip = self.sigma_data**2 / variance
        c_out = level * self.sigma_data / variance.sqrt()
        c_in = 1 / variance.sqrt()
        c_noise = self.c_noise(sigma.to(x.dtype))
        return c_skip * x + c_out * self.network(c_in * x, c_noise, labels, **conditions)
