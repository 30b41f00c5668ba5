"""The jump of Kim et al. 2024 along a trajectory, from one level to a lower one, which knows the score too."""

from torch import Tensor

from fewstep.diffusion.levels import SIGMA_MIN, per_sample
from fewstep.networks.network import Network
from fewstep.preconditioning.edm import EDM
from fewstep.preconditioning.preconditioner import CONSISTENCY, DENOISER
from fewstep.preconditioning.total_derivative import level_derivative, total_derivative
from fewstep.support.checks import above, check_value


class Trajectory(EDM):
    """G(x, t, s) = s / t x + (1 - s / t) g(x, t, s), t = sigma, s = sigma_next; G(x, t, t) = x to the bit.

    g has EDM's form, and of the network a second time, the c_noise of sigma_next.
    x: [B, ...]; sigma: [B], above 0; labels: [B, classes] one-hot, a row of zeros for no label, or None; sigma_next:
    [B], at most sigma, or None for the boundary, to which G is a consistency function.
    """

    samplers = ("gamma", *CONSISTENCY, *DENOISER)

    def __init__(self, network: Network, sigma_data: float = 0.5, boundary: float = SIGMA_MIN):
        super().__init__(network, sigma_data)
        check_value("boundary", boundary, above(0))
        self.boundary = boundary

    def forward(
        self,
        x: Tensor,
        sigma: Tensor,
        labels: Tensor | None = None,
        sigma_next: Tensor | None = None,
        jump: bool = True,
        **conditions: Tensor,
    ) -> Tensor:
        """G, or where jump is False g: the clean data to which a straight line from x over the jump's end leads."""
        if sigma_next is None:
            sigma_next = sigma.new_full(sigma.shape, self.boundary)
        estimate = super().forward(x, sigma, labels, second=self.c_noise(sigma_next.to(x.dtype)), **conditions)
        if not jump:
            return estimate
        kept = per_sample(sigma_next / sigma, x)
        return kept * x + (1 - kept) * estimate  # Section 3.1

    def reach(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """By what the network's output is multiplied in G, [B]."""
        return (1 - sigma_next / sigma) * self.scales(sigma)[1]

    def denoiser(self, x: Tensor, sigma: Tensor, labels: Tensor | None = None, **conditions: Tensor) -> Tensor:
        """g(x, sigma, sigma), E[x0 | x] once trained: what every sampler of a teacher takes."""
        return self(x, sigma, labels, sigma_next=sigma, jump=False, **conditions)

    def average_velocity(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, labels: Tensor | None = None) -> Tensor:
        """u of the jump z_r = z_t - (t - r) u that G makes, in the time and points of fewstep.diffusion.level_pairs.

        u = (z_t - g) / t, without its division by t. Geng et al. 2025, Eq. 3; sigma_next = sigma: the flow's velocity.
        """
        level, data = per_sample(sigma, x), self.sigma_data**2
        variance, second = level**2 + data, self.c_noise(sigma_next.to(x.dtype))
        output = self.network(x / variance.sqrt(), self.c_noise(sigma.to(x.dtype)), labels, second=second)
        return (level - data) / variance * x - (1 + level) * self.sigma_data / variance.sqrt() * output

    def velocity(self, x: Tensor, sigma: Tensor, denoised: Tensor) -> Tensor:
        """dz/dt = noise - x0 at sigma > 0, with x0 = denoised and the noise that makes x of it."""
        level = per_sample(sigma, x)
        return (x - (1 + level) * denoised) / level

    def derivative(
        self, x: Tensor, sigma: Tensor, sigma_next: Tensor, denoised: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """u, and (t - r) du/dt along the trajectory with that velocity, r kept, which has no graph."""

        def velocity(x: Tensor, sigma: Tensor) -> Tensor:
            return self.average_velocity(x, sigma, sigma_next, labels)

        output, by_log = total_derivative(velocity, x, sigma, denoised)
        level, end = per_sample(sigma, x), per_sample(sigma_next, x)
        return output, (level - end) * (1 + level) / (level * (1 + end)) * by_log  # (t - r) d ln sigma / dt

    def end_derivative(
        self, x: Tensor, sigma: Tensor, sigma_next: Tensor, labels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """u, and (t - r) du/dr, where only the end of the jump moves, which has no graph. sigma_next above 0."""

        def velocity(sigma_next: Tensor) -> Tensor:
            return self.average_velocity(x, sigma, sigma_next, labels)

        output, by_log = level_derivative(velocity, sigma_next.to(x.dtype))
        level, end = per_sample(sigma, x), per_sample(sigma_next, x)
        return output, (level - end) * (1 + end) / (end * (1 + level)) * by_log  # (t - r) d ln sigma_next / dr
