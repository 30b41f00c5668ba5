"""The layers of the networks, each one a small module."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Init:
    """How weights start: the distribution, and a gain where it is not 1.

    xavier: Xavier's uniform distribution and biases of 0, else PyTorch's own: weights and biases uniform in
    +-1/sqrt(fan_in). last: the last layer of a branch. Both as in Karras et al. 2022's code.
    """

    xavier: bool
    last: float
    attention: float
    augment: float


Layer = TypeVar("Layer", nn.Linear, nn.Conv2d, "Linear")
INITS = {"xavier": Init(True, 1e-5, math.sqrt(0.2), 1.0), "kaiming": Init(False, 0.0, 1.0, 0.0)}


def initialised(layer: Layer, init: Init, gain: float = 1.0) -> Layer:
    """The layer, with its weights started over."""
    with torch.no_grad():
        if init.xavier:
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                layer.bias.zero_()
        for parameter in layer.parameters():
            parameter.mul_(gain)
    return layer


class Linear(nn.Linear):
    """A linear layer that stays out of autocast: what carries time keeps its precision."""

    def forward(self, input: Tensor) -> Tensor:
        with torch.autocast(input.device.type, enabled=False):
            return super().forward(input.to(self.weight.dtype))


def conv(inputs: int, outputs: int, kernel: int, init: Init, gain: float = 1.0, **options: int) -> nn.Conv2d:
    """A convolution that keeps the image's size, unless its options say otherwise."""
    return initialised(nn.Conv2d(inputs, outputs, kernel, **cast(Any, {"padding": kernel // 2, **options})), init, gain)


class GroupNorm(nn.GroupNorm):
    """Group normalisation in 32 groups, or in fewer so that each has at least group_channels."""

    def __init__(self, channels: int, group_channels: int = 4, eps: float = 1e-5):
        groups = max(1, min(32, channels // group_channels))
        if channels % groups:
            raise InvalidInput(
                f"{channels} channels cannot be divided into {groups} groups: choose channels and channel_mult so that "
                f"every number of channels is a multiple of {group_channels} (of 32, from {32 * group_channels} on)."
            )
        super().__init__(groups, channels, eps)


class Resample(nn.Module):
    """A fixed separable filter, one for every channel. resample_filter: an even number of weights; [1, 1] is a box."""

    def __init__(self, resample_filter: Sequence[float] = (1, 1)):
        super().__init__()
        if len(resample_filter) % 2 or not resample_filter:
            raise InvalidInput.of("resample_filter", list(resample_filter), "an even number of weights, such as [1, 1]")
        if not sum(resample_filter):
            raise InvalidInput.of("resample_filter", list(resample_filter), "weights whose sum is not 0")
        line = np.array(resample_filter, np.float32)  # PyTorch's arithmetic on the meta device takes 2 s to import
        self.kernel: Tensor
        self.register_buffer("kernel", torch.tensor(np.outer(line, line) / line.sum() ** 2), persistent=False)
        self.padding = (len(resample_filter) - 1) // 2

    def kernels(self, x: Tensor) -> Tensor:
        return self.kernel.to(x.dtype).expand(x.shape[1], 1, -1, -1)


class Down(Resample):
    """Half the size. padded False: with nothing around the image, for an input that brings its own margin."""

    def __init__(self, resample_filter: Sequence[float] = (1, 1), padded: bool = True):
        super().__init__(resample_filter)
        self.padding *= padded

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.kernels(x), stride=2, padding=self.padding, groups=x.shape[1])


class Up(Resample):
    """Twice the size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv_transpose2d(x, 4 * self.kernels(x), stride=2, padding=self.padding, groups=x.shape[1])


class ScaleShift(nn.Module):
    """Normalisation, then a scale and a shift that the embedding decides (AdaGN). h: [B, C, ...]; emb: [B, E]."""

    parts = 2

    def __init__(self, channels: int, emb_channels: int, norm: Callable[[int], nn.Module], init: Init):
        super().__init__()
        self.norm = norm(channels)
        self.affine = initialised(Linear(emb_channels, self.parts * channels), init)

    def parameters_for(self, h: Tensor, emb: Tensor) -> tuple[Tensor, ...]:
        return self.affine(emb).to(h.dtype).reshape(len(h), -1, *[1] * (h.ndim - 2)).chunk(self.parts, dim=1)

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.parameters_for(h, emb)
        return self.norm(h) * (1 + scale) + shift


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """x over the root mean square of its channels."""
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


class NormalisedScaleShift(ScaleShift):
    """AdaGN with double normalisation: Lu and Song 2024, Section 4.1."""

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        scale, shift = self.parameters_for(h, emb)
        return self.norm(h) * pixel_norm(1 + scale) + pixel_norm(shift)


class Shift(ScaleShift):
    """A shift that the embedding decides, then normalisation."""

    parts = 1

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        (shift,) = self.parameters_for(h, emb)
        return self.norm(h + shift)


class Attention(nn.Module):
    """Self-attention over pixels. Channels of qkv: (q k v, head, channel of the head)."""

    def __init__(self, channels: int, heads: int, norm: Callable[[int], nn.Module], init: Init):
        super().__init__()
        if channels % heads:
            raise InvalidInput(f"{channels} channels cannot be divided among {heads} attention heads.")
        self.heads = heads
        self.norm = norm(channels)
        self.qkv = conv(channels, 3 * channels, 1, init, init.attention)
        self.project = conv(channels, channels, 1, init, init.last)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(self.norm(x)).reshape(batch, 3 * self.heads, channels // self.heads, height * width)
        attended = F.scaled_dot_product_attention(*qkv.transpose(-1, -2).chunk(3, dim=1))
        return self.project(attended.transpose(-1, -2).reshape(x.shape))
