"""The jump of Kim et al. 2024 along a trajectory, from one level to a lower one, which knows the score too."""

from torch import Tensor

from fewstep.diffusion.levels import SIGMA_MIN, per_sample
from fewstep.networks.network import Network
from fewstep.preconditioning.edm import EDM
from fewstep.preconditioning.preconditioner import CONSISTENCY, DENOISER
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
