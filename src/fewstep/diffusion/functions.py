"""What is passed from floor to floor: functions of (x, sigma), and random numbers.

x: [B, ...], data plus noise of standard deviation sigma, [B]. Every function gives an estimate of clean data, [B, ...].
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import torch
from torch import Tensor


class Denoiser(Protocol):
    """E[x0 | x], labels and guidance already bound. Its flow is dx/dsigma = (x - D(x, sigma)) / sigma."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


class LabelledDenoiser(Protocol):
    """E[x0 | x, labels]. labels: [B, classes] one-hot, a row of zeros for no label, or None. conditions: what else the
    network takes.
    """

    def __call__(self, x: Tensor, sigma: Tensor, labels: Tensor | None, /, **conditions: Tensor) -> Tensor: ...


class ConsistencyFunction(Protocol):
    """The end of the trajectory through (x, sigma), at the function's boundary level; labels already bound."""

    def __call__(self, x: Tensor, sigma: Tensor, /) -> Tensor: ...


class Jump(Protocol):
    """The point at the level sigma_next, [B], at most sigma, of the trajectory through (x, sigma)."""

    def __call__(self, x: Tensor, sigma: Tensor, sigma_next: Tensor, /) -> Tensor: ...


class Solver(Protocol):
    """One step of the probability flow ODE, from sigma to sigma_next."""

    def __call__(self, denoiser: Denoiser, x: Tensor, sigma: Tensor, sigma_next: Tensor, /) -> Tensor: ...


class Randomness(Protocol):
    """The noise that samplers draw. What is drawn for one sample does not depend on the others in its batch."""

    @property
    def device(self) -> torch.device: ...

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard Gaussian numbers, [B, *shape]."""
        ...

    def integers(self, high: int) -> Tensor:
        """Integers in [0, high), [B]."""
        ...


class TrainingRandomness(Randomness, Protocol):
    """The random numbers of a training step."""

    def uniform(self) -> Tensor:
        """Uniform numbers in [0, 1), [B]."""
        ...

    def shared(self) -> Tensor:
        """One uniform number in [0, 1) for the whole global batch, []."""
        ...

    def parted(self, share: float) -> tuple[Tensor, Tensor]:
        """Places of this share of the rows, up to rounding, and of the others: functions of step and place alone."""
        ...

    def dropout(self) -> AbstractContextManager[Any]:
        """A context for one forward pass: all passes of a step in such contexts have the same dropout masks."""
        ...
