"""Data N(mean, std^2), whose denoiser, flow and consistency function are known: what every method is tested against.

x: [B, ...]; sigma: [B]. The flow scales x - mean by the ratio of the marginal standard deviations.
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fewstep.diffusion.levels import per_sample


@dataclass(frozen=True)
class Gaussian:
    """Gaussian data with independent dimensions."""

    mean: float
    std: float

    def denoiser(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
        """E[x0 | x]."""
        variance = per_sample(sigma, x) ** 2
        return (self.std**2 * x + variance * self.mean) / (self.std**2 + variance)

    def flow(self, x: Tensor, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """The exact solution of the probability flow ODE from sigma to sigma_next."""
        ratio = (self.std**2 + sigma_next**2) / (self.std**2 + sigma**2)
        return self.mean + (x - self.mean) * per_sample(ratio.sqrt(), x)

    def consistency(self, boundary: float) -> Callable[..., Tensor]:
        """The exact consistency function: the flow from sigma to the boundary level."""

        def function(x: Tensor, sigma: Tensor, labels: Tensor | None = None) -> Tensor:
            return self.flow(x, sigma, sigma.new_full(sigma.shape, boundary))

        return function
