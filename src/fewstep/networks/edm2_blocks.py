"""What EDM2's U-Net is made of: residual blocks, and levels of them. Karras et al. 2024, configuration G."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewstep.networks.conditioned_block import ConditionedBlock
from fewstep.networks.layers import Down, Up
from fewstep.networks.magnitude import MPConv, MPLinear, mp_cat, mp_silu, mp_sum, normalised

BRANCH = 0.3  # share of a residual branch, and of attention, in its sum
LARGEST = 256.0  # of a block's output, either side of 0


class Scale(nn.Module):
    """A scale of each channel that the embedding decides, 1 at first. h: [B, C, H, W]; emb: [B, E]."""

    def __init__(self, channels: int, emb_channels: int):
        super().__init__()
        self.affine = MPLinear(emb_channels, channels, gain=True)

    def scale(self, emb: Tensor) -> Tensor:
        return self.affine(emb) + 1

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return h * self.scale(emb).to(h.dtype)[:, :, None, None]


class NormalisedScale(Scale):
    """Double normalisation, as Lu and Song 2024, Section 4.1, have it for AdaGN: of the features and of their scale.

    Theirs has a shift too, which EDM2's blocks have not.
    """

    def scale(self, emb: Tensor) -> Tensor:
        return normalised(super().scale(emb))

    def forward(self, h: Tensor, emb: Tensor) -> Tensor:
        return super().forward(normalised(h), emb)


class CosineAttention(nn.Module):
    """Self-attention over pixels, with normalised q, k and v. Channels of qkv: (q k v, head, channel of the head)."""

    def __init__(self, channels: int, heads: int):
        super().__init__()
        self.heads = heads
        self.qkv = MPConv(channels, 3 * channels, 1)
        self.project = MPConv(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        batch, channels, height, width = x.shape
        qkv = self.qkv(x).reshape(batch, 3 * self.heads, channels // self.heads, height * width)
        q, k, v = normalised(qkv, 2).transpose(-1, -2).chunk(3, dim=1)
        attended = F.scaled_dot_product_attention(q, k, v)
        return self.project(attended.transpose(-1, -2).reshape(x.shape))


class EDM2Block(ConditionedBlock):
    """A residual branch scaled by the embedding, beside a shortcut; then attention, if it has heads.

    encodes: the encoder's blocks normalise their input over channels, after the shortcut's convolution.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        encodes: bool,
        resample: Down | Up | None = None,
        heads: int = 0,
        emb_channels: int,
        dropout: float,
        double_norm: bool,
    ):
        super().__init__()
        self.encodes = encodes
        self.resample = resample or nn.Identity()
        self.shortcut = MPConv(inputs, outputs, 1) if inputs != outputs else nn.Identity()
        self.conv_in = MPConv(outputs if encodes else inputs, outputs, 3)
        self.modulation = (NormalisedScale if double_norm else Scale)(outputs, emb_channels)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = MPConv(outputs, outputs, 3)
        self.attention = CosineAttention(outputs, heads) if heads else None

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.resample(x)
        if self.encodes:
            x = normalised(self.shortcut(x))
        h = mp_silu(self.modulation(self.conv_in(mp_silu(x)), emb))
        h = self.conv_out(self.dropout(h))
        x = mp_sum(x if self.encodes else self.shortcut(x), h, BRANCH)
        if self.attention is not None:
            x = mp_sum(x, self.attention(x), BRANCH)
        return x.clamp(-LARGEST, LARGEST)


class Encoder(nn.Module):
    """One size on the way down. Appends what the decoder will want to skips."""

    def __init__(self, down: EDM2Block | None, blocks: list[EDM2Block]):
        super().__init__()
        self.down, self.blocks = down, nn.ModuleList(blocks)

    def forward(self, x: Tensor, emb: Tensor, skips: list[Tensor]) -> Tensor:
        if self.down is not None:
            x = self.down(x, emb)
            skips.append(x)
        for block in self.blocks:
            x = block(x, emb)
            skips.append(x)
        return x


class Decoder(nn.Module):
    """One size on the way up. Takes its part of skips."""

    def __init__(self, up: EDM2Block | None, blocks: list[EDM2Block]):
        super().__init__()
        self.up, self.blocks = up, nn.ModuleList(blocks)

    def forward(self, x: Tensor, emb: Tensor, skips: list[Tensor]) -> Tensor:
        if self.up is not None:
            x = self.up(x, emb)
        for block in self.blocks:
            x = block(mp_cat(x, skips.pop()), emb)
        return x


def with_ones(x: Tensor) -> Tensor:
    """x with one more channel, of ones: in place of biases."""
    return torch.cat([x, torch.ones_like(x[:, :1])], dim=1)
