"""The consistency function of Song et al. 2023: the EDM form with a boundary at the smallest level (Appendix C)."""

from torch import Tensor

from fewstep.diffusion.levels import SIGMA_MIN, per_sample
from fewstep.networks.network import Network
from fewstep.preconditioning.preconditioner import CONSISTENCY, Preconditioner
from fewstep.support.checks import above, check_value


class Consistency(Preconditioner):
    """f(x, sigma) = c_skip x + c_out F(c_in x, c_noise); f(x, boundary) = x to the bit.

    x: [B, ...]; sigma: [B], at least the boundary; labels: [B, classes] one-hot, a row of zeros for no label, or None.
    """

    samplers = CONSISTENCY

    def __init__(self, network: Network, sigma_data: float = 0.5, boundary: float = SIGMA_MIN):
        super().__init__(network, sigma_data)
        check_value("boundary", boundary, above(0))
        self.boundary = boundary

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        variance = per_sample(sigma, x) ** 2 + self.sigma_data**2
        above = per_sample(sigma - sigma.new_tensor(self.boundary), x)
        c_skip = self.sigma_data**2 / (above**2 + self.sigma_data**2)  # Song et al. 2023, App. C
        c_out = self.sigma_data * above / variance.sqrt()
        c_in = 1 / variance.sqrt()
        c_noise = self.c_noise(sigma.to(x.dtype))
        return c_skip * x + c_out * self.network(c_in * x, c_noise, labels, **conditions)
