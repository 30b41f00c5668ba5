"""What the transformer is made of: attention, MLPs, and blocks of both that the embedding modulates."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewstep.networks.conditioned_block import ConditionedBlock
from fewstep.networks.dit_positions import Rotary
from fewstep.networks.dit_settings import DiTSettings
from fewstep.networks.layers import INITS, Init, Linear, initialised

EPS = 1e-6
LinearLayer = TypeVar("LinearLayer", bound=nn.Linear)


def norm(channels: int, rms: bool) -> nn.Module:
    """Normalisation over the channels of a token, without weights: the modulation after it has some."""
    kind = nn.RMSNorm if rms else nn.LayerNorm
    return kind(channels, eps=EPS, elementwise_affine=False)


class HeadNorm(nn.RMSNorm):
    """Normalises each head's queries or keys, in the precision of its weights whatever autocast says."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.to(self.weight.dtype))


class TokenAttention(nn.Module):
    """Self-attention over tokens [B, N, C]. Channels of qkv: (q k v, head, channel of the head)."""

    def __init__(self, channels: int, heads: int, qk_norm: bool, rotary: Rotary | None, init: Init):
        super().__init__()
        self.heads = heads
        self.qkv = initialised(nn.Linear(channels, 3 * channels), init)
        self.q_norm = HeadNorm(channels // heads, eps=EPS) if qk_norm else nn.Identity()
        self.k_norm = HeadNorm(channels // heads, eps=EPS) if qk_norm else nn.Identity()
        self.rotary = rotary or nn.Identity()
        self.project = initialised(nn.Linear(channels, channels), init)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind()
        q, k = self.rotary(self.q_norm(q)).to(v.dtype), self.rotary(self.k_norm(k)).to(v.dtype)
        return self.project(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


def gelu(h: Tensor) -> Tensor:
    return F.gelu(h, approximate="tanh")


def swiglu(h: Tensor) -> Tensor:
    """Half of the channels, gated by the others: Shazeer 2020."""
    gate, h = h.chunk(2, dim=-1)
    return F.silu(gate) * h


class FeedForward(nn.Module):
    """Two linear layers of each token. gated: SwiGLU, whose three matrices have as many weights as GELU's two."""

    def __init__(self, channels: int, hidden: int, gated: bool, dropout: float, init: Init):
        super().__init__()
        self.activation: Callable[[Tensor], Tensor] = swiglu if gated else gelu
        hidden = 2 * hidden // 3 if gated else hidden
        self.linear_in = initialised(nn.Linear(channels, 2 * hidden if gated else hidden), init)
        self.dropout = nn.Dropout(dropout)
        self.linear_out = initialised(nn.Linear(hidden, channels), init)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear_out(self.dropout(self.activation(self.linear_in(x))))


def zeroed(layer: LinearLayer) -> LinearLayer:
    """The layer, with weights and biases of 0."""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Modulation(nn.Module):
    """So many vectors [B, 1, C], which all tokens of a sample share, from its embedding [B, C]; they start at 0."""

    def __init__(self, channels: int, parts: int):
        super().__init__()
        self.parts = parts
        self.affine = zeroed(Linear(channels, parts * channels))

    def forward(self, emb: Tensor) -> tuple[Tensor, ...]:
        return self.affine(emb)[:, None].chunk(self.parts, dim=-1)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)


class TransformerBlock(ConditionedBlock):
    """Attention and an MLP, each a gated branch beside a shortcut: adaLN-zero, Peebles and Xie 2023, Section 3.2."""

    def __init__(self, settings: DiTSettings, grid: tuple[int, int]):
        super().__init__()
        channels, _, heads = settings.numbers
        init = INITS[settings.init]
        rotary = Rotary(*grid, channels // heads) if settings.rope else None
        self.modulation = Modulation(channels, 6)
        self.attention_norm = norm(channels, settings.rms_norm)
        self.attention = TokenAttention(channels, heads, settings.qk_norm, rotary, init)
        self.mlp_norm = norm(channels, settings.rms_norm)
        self.mlp = FeedForward(channels, settings.hidden, settings.swiglu, settings.dropout, init)

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        shift, scale, gate, mlp_shift, mlp_scale, mlp_gate = self.modulation(emb)
        x = torch.addcmul(x, gate, self.attention(modulated(self.attention_norm(x), shift, scale)))
        return torch.addcmul(x, mlp_gate, self.mlp(modulated(self.mlp_norm(x), mlp_shift, mlp_scale)))


class Head(nn.Module):
    """From each token to the values of its patch, which start at 0."""

    def __init__(self, settings: DiTSettings, values: int):
        super().__init__()
        channels = settings.numbers.channels
        self.modulation = Modulation(channels, 2)
        self.norm = norm(channels, settings.rms_norm)
        self.linear = zeroed(nn.Linear(channels, values))

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.linear(modulated(self.norm(x), *self.modulation(emb)))
