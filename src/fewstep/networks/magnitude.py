"""Layers that keep the magnitude of what passes through them: Karras et al. 2024, Appendix B.

On the meta device they do no arithmetic as they are made: PyTorch would import its compiler for it, which takes 2 s.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-4  # beside which a root mean square is divided


def normalised(x: Tensor, dim: int = 1) -> Tensor:
    """x over the root mean square along dim, plus 1e-4: pixel norm along the channels."""
    precise = torch.promote_types(x.dtype, torch.float32)
    norm = torch.linalg.vector_norm(x, dim=dim, keepdim=True, dtype=precise)
    return x / (norm / math.sqrt(x.shape[dim]) + EPS).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """SiLU over its root mean square on unit Gaussian numbers, Eq. 81."""
    return F.silu(x) / 0.596


def mp_sum(a: Tensor, b: Tensor, share: float) -> Tensor:
    """A weighted sum of two uncorrelated tensors. share: of b, Eq. 88."""
    length = math.hypot(1 - share, share)
    return a * ((1 - share) / length) + b * (share / length)


def mp_cat(a: Tensor, b: Tensor, share: float = 0.5) -> Tensor:
    """Concatenation along channels, to which each side contributes by its share and not by its width, Eq. 103."""
    first, second = a.shape[1], b.shape[1]
    scale = math.sqrt((first + second) / ((1 - share) ** 2 + share**2))
    return torch.cat([a * (scale * (1 - share) / math.sqrt(first)), b * (scale * share / math.sqrt(second))], dim=1)


class Forced(nn.Module):
    """A layer whose weights have unit magnitude: Eqs. 47 and 66.

    The forward pass normalises them, so that their length has no effect; after each step of a training, after_step sets
    their length back, so that it does not grow and slow the learning down. gain: one learned number that multiplies
    the output and begins at 0.
    """

    def __init__(self, outputs: int, *inputs: int, gain: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, *inputs))
        self.gain = nn.Parameter(torch.zeros(())) if gain else None
        if not self.weight.is_meta:
            self.after_step(torch.zeros(()))

    @property
    def kernel(self) -> Tensor:
        """The weights as they are used: normalised, over the root of the number of inputs."""
        norms = self._norms() + EPS * math.sqrt(self.weight[0].numel())
        return self.weight * ((1.0 if self.gain is None else self.gain) / norms)

    @torch.no_grad()
    def after_step(self, skip: Tensor) -> None:
        """Forced weight normalisation. skip: on the device, 1.0 to leave the weights as they are."""
        lengths = self._norms() / math.sqrt(self.weight[0].numel()) + EPS
        self.weight.div_(lengths.masked_fill_(skip > 0, 1.0))

    def _norms(self) -> Tensor:
        """Of what goes into each output."""
        return torch.linalg.vector_norm(self.weight, dim=tuple(range(1, self.weight.ndim)), keepdim=True)


class MPConv(Forced):
    """A convolution without bias that keeps the image's size."""

    def __init__(self, inputs: int, outputs: int, kernel: int, gain: bool = False):
        super().__init__(outputs, inputs, kernel, kernel, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernel, padding=self.weight.shape[-1] // 2)


class MPLinear(Forced):
    """A linear layer without bias that stays out of autocast: what carries time keeps its precision."""

    def __init__(self, inputs: int, outputs: int, gain: bool = False):
        super().__init__(outputs, inputs, gain=gain)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return F.linear(x.to(self.weight.dtype), self.kernel)


class MPFourier(nn.Module):
    """sqrt(2) cos of t at random phases, and frequencies of standard deviation scale, Eq. 75: [B] -> [B, channels]."""

    def __init__(self, channels: int, scale: float = 1.0):
        super().__init__()
        self.frequencies: Tensor
        self.phases: Tensor
        self.register_buffer("frequencies", torch.randn(channels))
        self.register_buffer("phases", torch.rand(channels))
        if not self.phases.is_meta:
            self.frequencies.mul_(2 * math.pi * scale)
            self.phases.mul_(2 * math.pi)

    def forward(self, t: Tensor) -> Tensor:
        angles = torch.outer(t, self.frequencies.to(t.dtype)) + self.phases.to(t.dtype)
        return angles.cos() * math.sqrt(2)
