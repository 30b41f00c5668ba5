"""The jump of which the network is the linear flow's velocity: Zhou et al. 2025, Section 4.2, Euler-FM."""

from torch import Tensor

from fewstep.diffusion.levels import per_sample
from fewstep.preconditioning.trajectory import Trajectory


class EulerTrajectory(Trajectory):
    """G of Trajectory with g = (1 - t) x - t sigma_data F, t = sigma / (sigma + sigma_data), 0 for the data.

    In z = (1 - t) x, which is (1 - t) x0 + t noise of deviation sigma_data, the jump to r is z - (t - r) sigma_data F.
    """

    def scales(self, level: Tensor) -> tuple[Tensor, Tensor]:
        kept = self.sigma_data / (level + self.sigma_data)
        return kept, -level * kept

    def average_velocity(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, labels: Tensor | None = None) -> Tensor:
        level, second = per_sample(sigma, x), self.c_noise(sigma_next.to(x.dtype))
        c_in = 1 / (level**2 + self.sigma_data**2).sqrt()
        output = self.network(c_in * x, self.c_noise(sigma.to(x.dtype)), labels, second=second)
        return ((1 - self.sigma_data) * x + (1 + level) * self.sigma_data * output) / (level + self.sigma_data)
