"""The linear flow: x_t = t x0 + (1 - t) z, z unit Gaussian, sigma = (1 - t) / t, t = 1 the data. Peng et al. 2025."""

from torch import Tensor

from fewstep.diffusion.levels import per_sample
from fewstep.preconditioning.preconditioner import CONSISTENCY, Preconditioner
from fewstep.preconditioning.total_derivative import total_derivative


class Flow(Preconditioner):
    """f = x_t + (1 - t) F(x_t, t), x_t = t x; f(x, 0) = x.

    F = a x_t + b network(x_t / sqrt(V), c_noise), where in the paper it is the network: V, the variance of x_t, a and b
    are such that f is EDM's function, and its weights are EDM's.
    x: [B, ...]; sigma: [B], at least 0; labels: [B, classes] one-hot, a row of zeros for no label, or None.
    """

    boundary = 0.0
    samplers = CONSISTENCY

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        t = self.time(sigma, x)
        return t * x + (1 - t) * self.flow(x, sigma, self.c_noise(sigma.to(x.dtype)), labels, **conditions)

    def flow(
        self, x: Tensor, sigma: Tensor, c_noise: Tensor, labels: Tensor | None = None, **conditions: Tensor
    ) -> Tensor:
        """F, under a condition."""
        t, data = self.time(sigma, x), self.sigma_data**2
        variance = data * t**2 + (1 - t) ** 2
        output = self.network(t * x / variance.sqrt(), c_noise, labels, **conditions)
        return (data * t - (1 - t)) / variance * (t * x) + self.sigma_data / variance.sqrt() * output

    def anchor(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, expanded: bool = False) -> Tensor:
        """F under a condition where it is the flow's own velocity, unlike that of f.

        expanded: the condition of 2 - t, beyond the data; else that of t, which is a second time too. The paper gives
        the network 2 - t itself: here, a deviation, it is the mirrored angle, minus that of t.
        """
        c_noise = self.c_noise(sigma.to(x.dtype))
        if expanded:
            return self.flow(x, sigma, -c_noise, labels)
        return self.flow(x, sigma, c_noise, labels, second=c_noise)

    def time(self, sigma: Tensor, x: Tensor) -> Tensor:
        """t, as a factor of x."""
        return 1 / (1 + per_sample(sigma, x))

    def velocity(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """dx_t/dt = x0 - z at sigma > 0, with x0 = denoised and the z that makes x_t of it."""
        t = self.time(sigma, x)
        return (denoised - t * x) / (1 - t)

    def derivative(
        self, x: Tensor, sigma: Tensor, denoised: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """F, and (1 - t) dF/dt along the trajectory with that velocity, which has no graph."""

        def flow(x: Tensor, sigma: Tensor) -> Tensor:
            return self.flow(x, sigma, self.c_noise(sigma), labels)

        output, by_log = total_derivative(flow, x, sigma, denoised)
        return output, -by_log / self.time(sigma, x)  # d ln sigma / dt = -1 / (t (1 - t))
