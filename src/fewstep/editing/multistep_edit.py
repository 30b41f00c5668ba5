"""Zero-shot editing: a start and a projection, handed to the multistep sampler."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from fewstep.diffusion.functions import ConsistencyFunction, Randomness
from fewstep.samplers import sample_multistep
from fewstep.samplers.multistep import identity


@dataclass(frozen=True)
class Edit:
    """Song et al. 2023, Algorithm 4.

    start: [B, C, H, W], model values; noise of the first level is added to it. project: of each estimate. noise: unit
    Gaussian noise of the first level where it is the task's own.
    """

    start: Tensor
    project: Callable[[Tensor], Tensor] = identity
    noise: Tensor | None = None

    def __call__(
        self,
        consistency: ConsistencyFunction,
        noise: Tensor,
        levels: Tensor,
        rng: Randomness,
        boundary: float = 0.002,
    ) -> Tensor:
        """The edited images: arguments are those of sample_multistep. NFE = len(levels)."""
        noise = noise.to(self.start) if self.noise is None else self.noise
        return sample_multistep(consistency, noise, levels, rng, self.start, self.project, boundary)
