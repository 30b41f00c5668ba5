"""TrigFlow: Lu and Song 2024, Section 3. x_t = cos t x0 + sin t z, z ~ N(0, sigma_data^2), sigma = sigma_data tan t."""

from torch import Tensor

from fewstep.diffusion.levels import per_sample
from fewstep.preconditioning.preconditioner import CONSISTENCY, Preconditioner
from fewstep.preconditioning.total_derivative import total_derivative


class TrigFlow(Preconditioner):
    """f = cos t x_t - sin t sigma_data F(x_t / sigma_data, c_noise), x_t = cos t x; f(x, 0) = x.

    F is minus the network, where in the paper it is the network: so it is EDM's function, and its weights are EDM's.
    x: [B, ...]; sigma: [B], at least 0; labels: [B, classes] one-hot, a row of zeros for no label, or None.
    """

    boundary = 0.0
    samplers = CONSISTENCY

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        cos, sin = self.circle(sigma, x)
        return cos**2 * x - sin * self.sigma_data * self.flow(x, sigma, labels, **conditions)

    def flow(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        """F."""
        cos, _ = self.circle(sigma, x)
        return -self.network(cos * x / self.sigma_data, self.c_noise(sigma.to(x.dtype)), labels, **conditions)

    def circle(self, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """cos t and sin t, as factors of x."""
        level = per_sample(sigma, x)
        radius = (level**2 + self.sigma_data**2).sqrt()
        return self.sigma_data / radius, level / radius

    def velocity(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """dx_t/dt = cos t z - sin t x0 at sigma > 0, with x0 = denoised and the z that makes x_t of it."""
        cos, sin = self.circle(sigma, x)
        return (cos**2 * x - denoised) / sin

    def tangent(
        self, x: Tensor, sigma: Tensor, denoised: Tensor, warmup: float = 1.0, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """F, and g = cos t df/dt along the trajectory with that velocity, its second part times warmup; g has no graph.

        Lu and Song 2024, Algorithm 1. A derivative by ln sigma is cos t sin t times the one by t.
        """
        flow, derivative = total_derivative(lambda x, sigma: self.flow(x, sigma, labels), x, sigma, denoised)
        cos, sin = self.circle(sigma, x)
        constant = -(cos**2) * (self.sigma_data * flow.detach() - self.velocity(x, sigma, denoised))
        return flow, constant - warmup * (cos * sin * cos * x + self.sigma_data * derivative)
