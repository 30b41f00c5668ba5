"""The linear flow of FACM: Peng et al. 2025. x_t = t x0 + (1 - t) z, z unit Gaussian: t = 1 is the data, sigma = (1 - t) / t."""

from torch import Tensor, nn

from onestep.diffusion.levels import per_sample
from onestep.preconditioning.noise_condition import noise_condition
from onestep.preconditioning.trajectory import along_trajectory


class Flow(nn.Module):
    """f = x_t + (1 - t) F(x_t, t), F = a x_t + b network(x_t / sqrt(V), c_noise), V = sigma_data^2 t^2 + (1 - t)^2; f(x, 0) = x.

    a and b make it EDM's function, and one takes the other's weights; in the paper F is the bare network. x = x_t / t.
    x: [B, ...]; sigma: [B], at least 0; labels: [B, classes] one-hot, a row of zeros for no label, or None.
    """

    boundary = 0.0

    def __init__(self, network: nn.Module, sigma_data: float = 0.5):
        super().__init__()
        self.network, self.sigma_data = network, sigma_data
        self.c_noise = noise_condition(network, sigma_data)

    def forward(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions) -> Tensor:
        t = self.time(sigma, x)
        return t * x + (1 - t) * self._flow(x, sigma, self.c_noise(sigma.to(x.dtype)), labels, **conditions)

    def anchor(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, expanded: bool = False) -> Tensor:
        """F as a flow's velocity at x_t, which it is under another condition than as f's.

        expanded: at 2 - t, beyond the data, where the angle of the noise is negative; else with t as a second time too.
        """
        c_noise = self.c_noise(sigma.to(x.dtype))
        if expanded:
            return self._flow(x, sigma, -c_noise, labels)
        return self._flow(x, sigma, c_noise, labels, second=c_noise)

    def time(self, sigma: Tensor, x: Tensor) -> Tensor:
        """t, as a factor of x."""
        return 1 / (1 + per_sample(sigma, x))

    def velocity(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """dx_t/dt = x0 - z at sigma > 0, with x0 = denoised and the z that makes x_t of it."""
        t = self.time(sigma, x)
        return (denoised - t * x) / (1 - t)

    def derivative(self, x: Tensor, sigma: Tensor, denoised: Tensor, labels=None) -> tuple[Tensor, Tensor]:
        """F, and (1 - t) dF/dt along the trajectory with that velocity; only F has a graph."""
        output, by_log = along_trajectory(self, x, sigma, denoised, labels)
        t, (a, b, V) = self.time(sigma, x), self._scales(sigma, x)
        a_slope, b_slope = (1 + self.sigma_data**2) / V - 2 * a**2, -a * b
        velocity = self.velocity(x, sigma, denoised)
        outer = a_slope * t * x + a * velocity + b_slope * output.detach()
        return a * t * x + b * output, (1 - t) * outer - b * by_log / t  # d ln sigma / dt = -1 / (t (1 - t))

    def _flow(self, x, sigma, c_noise, labels, **conditions) -> Tensor:
        t, (a, b, V) = self.time(sigma, x), self._scales(sigma, x)
        return a * t * x + b * self.network(t * x / V.sqrt(), c_noise, labels, **conditions)

    def _scales(self, sigma: Tensor, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """a, b and V, with da/dt = (1 + sigma_data^2) / V - 2 a^2 and db/dt = -a b."""
        t, data = self.time(sigma, x), self.sigma_data**2
        V = data * t**2 + (1 - t) ** 2
        return (data * t - (1 - t)) / V, self.sigma_data / V.sqrt(), V
