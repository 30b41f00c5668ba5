"""What tells a network the time, the class and the augmentation: one vector for each sample."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fewstep.networks.layers import INITS, Linear, initialised
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

EMBEDDINGS = ("fourier", "positional")


class Positional(nn.Module):
    """[cos, sin] of t [B] -> [B, channels], over periods from 2 pi to 2 pi 10000 (endpoint: that one too)."""

    def __init__(self, channels: int, endpoint: bool = False):
        super().__init__()
        self.count, self.steps = channels // 2, max(1, channels // 2 - endpoint)

    def forward(self, t: Tensor) -> Tensor:
        exponents = torch.arange(self.count, dtype=t.dtype, device=t.device) / self.steps
        angles = torch.outer(t, 10_000.0**-exponents)
        return torch.cat([angles.cos(), angles.sin()], dim=1)


class Fourier(nn.Module):
    """[cos, sin] of t at random frequencies of standard deviation scale, [B] -> [B, channels]."""

    def __init__(self, channels: int, scale: float = 16.0):
        super().__init__()
        self.frequencies: Tensor
        self.register_buffer("frequencies", torch.randn(channels // 2) * scale)

    def forward(self, t: Tensor) -> Tensor:
        angles = torch.outer(t, 2 * math.pi * self.frequencies.to(t.dtype))
        return torch.cat([angles.cos(), angles.sin()], dim=1)


@dataclass(frozen=True, kw_only=True)
class EmbeddingSettings:
    """Settings that every network has: how it starts, and how it takes times, labels and augmentation.

    Raises ValueError for a name that is not there.
    """

    init: str = "kaiming"  # or "xavier"
    embedding: str = "positional"  # or "fourier"
    endpoint: bool = False  # of the positional embedding
    fourier_scale: float = 16.0
    c_noise: str = "log"  # or "angle": for the preconditioner, which makes the times
    c_noise_scale: float = 1.0  # multiplies the times
    labels_first: bool = False  # labels join before the two layers, not after them
    augment_dim: int = 0
    second_time: bool = False  # a second time, added to the first; it starts without effect

    def __post_init__(self):
        check_name("init", self.init, INITS)
        check_name("embedding", self.embedding, EMBEDDINGS)


class Conditions(nn.Module):
    """Base of what embeds the conditions of a network; in float32 (or float64) whatever autocast says.

    c_noise, c_noise_scale: as in EmbeddingSettings. Raises ValueError for noise_channels that are not even.
    """

    time: nn.Module

    def __init__(self, noise_channels: int, num_classes: int, c_noise: str, c_noise_scale: float):
        super().__init__()
        if noise_channels < 2 or noise_channels % 2:
            raise InvalidInput.of("channels x channel_mult_noise", noise_channels, "an even number of at least 2")
        self.num_classes, self.c_noise, self.c_noise_scale = num_classes, c_noise, c_noise_scale

    def embed(self, t: Tensor) -> Tensor:
        precision = torch.promote_types(next(self.parameters()).dtype, torch.float32)
        return self.time(t.to(precision) * self.c_noise_scale)

    def one_hot(self, labels: Tensor | None, like: Tensor) -> Tensor:
        if labels is None:
            return like.new_zeros(len(like), self.num_classes)
        if labels.shape != (len(like), self.num_classes):
            raise InvalidInput(
                f"labels must be one-hot rows of shape {[len(like), self.num_classes]}, got shape {list(labels.shape)}."
            )
        return labels.to(like.dtype)

    def given(self, layer: str, argument: str) -> nn.Module:
        if getattr(self, layer) is None:
            raise InvalidInput(f"this network was built without {argument}.")
        return getattr(self, layer)


class Conditioning(Conditions):
    """Times, labels and augmentation as one vector, [B, channels]."""

    def __init__(self, channels: int, noise_channels: int, num_classes: int, settings: EmbeddingSettings):
        super().__init__(noise_channels, num_classes, settings.c_noise, settings.c_noise_scale)
        self.labels_first = settings.labels_first
        init = INITS[settings.init]
        if settings.embedding == "fourier":
            self.time = Fourier(noise_channels, settings.fourier_scale)
        else:
            self.time = Positional(noise_channels, settings.endpoint)
        self.hidden = initialised(Linear(noise_channels, channels), init)
        self.out = initialised(Linear(channels, channels), init)
        self.labels = self.augment = self.second_hidden = self.second_out = None
        if num_classes and settings.labels_first:
            self.labels = initialised(Linear(num_classes, noise_channels), init)
        elif num_classes:
            self.labels = Linear(num_classes, channels, bias=False)
            if not self.labels.weight.is_meta:  # where that would import the compiler
                nn.init.normal_(self.labels.weight)
        if settings.augment_dim:
            self.augment = initialised(Linear(settings.augment_dim, noise_channels, bias=False), init, init.augment)
        if settings.second_time:
            self.second_hidden = initialised(Linear(noise_channels, channels), init)
            self.second_out = initialised(Linear(channels, channels), init, 0.0)

    def forward(
        self, c_noise: Tensor, labels: Tensor | None = None, second: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        emb = self.embed(c_noise)
        labels = self.one_hot(labels, emb)
        if augment is not None:
            emb = emb + self.given("augment", "augment_dim")(augment)
        if self.labels is not None and self.labels_first:
            emb = emb + self.labels(labels * math.sqrt(self.num_classes))
        emb = self.out(silu(self.hidden(emb)))
        if self.labels is not None and not self.labels_first:
            emb = emb + self.labels(labels)
        if second is not None:
            emb = emb + self.given("second_out", "second_time")(
                silu(self.given("second_hidden", "second_time")(self.embed(second)))
            )
        return silu(emb)
