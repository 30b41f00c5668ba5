"""Every setting of the transformer, with its default, and the published sizes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fewstep.networks.embeddings import EmbeddingSettings
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


class Size(NamedTuple):
    """How wide and deep a transformer is, and its number of attention heads."""

    channels: int
    num_blocks: int
    num_heads: int


# Peebles and Xie 2023, Table 1; M as in later papers.
SIZES = {
    "S": Size(384, 12, 6),
    "B": Size(768, 12, 12),
    "M": Size(1024, 16, 16),
    "L": Size(1024, 24, 16),
    "XL": Size(1152, 28, 16),
}


@dataclass(frozen=True, kw_only=True)
class DiTSettings(EmbeddingSettings):
    """The settings of the transformer. Raises ValueError for an unknown name, and for heads that do not fit."""

    init: str = "xavier"  # or "kaiming"; modulations and the last layer start at 0
    size: str = "S"  # or "B", "M", "L", "XL": the next three, where they are 0
    channels: int = 0
    num_blocks: int = 0
    num_heads: int = 0
    patch: int = 2  # sides of the squares of pixels that become one token
    mlp_ratio: float = 4.0  # width between the two layers of an MLP, in units of the channels
    dropout: float = 0.0  # between the two layers of an MLP
    rms_norm: bool = False  # in place of layer normalisation
    qk_norm: bool = False  # queries and keys are normalised
    rope: bool = False  # rotary positions of queries and keys, beside the fixed ones of tokens
    swiglu: bool = False  # gated MLPs, of as many weights, in place of GELU

    def __post_init__(self):
        super().__post_init__()
        check_name("size", self.size, SIZES)
        channels, _, heads = self.numbers
        if channels % 4:
            raise InvalidInput.of("channels", channels, "a multiple of 4")
        if channels % heads:
            raise InvalidInput(f"{channels} channels cannot be divided among {heads} attention heads.")
        if self.hidden < 2:
            raise InvalidInput.of("channels x mlp_ratio", self.hidden, "at least 2")
        if self.rope and channels // heads % 4:
            raise InvalidInput.of("channels / num_heads", channels // heads, "a multiple of 4 if rope is true")

    @property
    def numbers(self) -> Size:
        """The size, with the numbers that are given in place of its own."""
        named = SIZES[self.size]
        return Size(
            self.channels or named.channels, self.num_blocks or named.num_blocks, self.num_heads or named.num_heads
        )

    @property
    def hidden(self) -> int:
        """The width between the two layers of an MLP."""
        return round(self.numbers.channels * self.mlp_ratio)

    def grid(self, shape: Sequence[int]) -> tuple[int, int]:
        """Rows and columns of tokens of an image. Raises ValueError for points, and for a patch that does not fit."""
        if len(shape) != 3:
            raise InvalidInput(
                f"the network 'dit' takes images of shape [C, H, W], got {list(shape)}: use 'mlp' for points."
            )
        _, height, width = shape
        if height % self.patch or width % self.patch:
            fitting = [str(side) for side in range(1, 9) if not (height % side or width % side)]
            raise InvalidInput(
                f"patch must divide both sides of {height}x{width} pixels, got {self.patch}. "
                f"Allowed: {', '.join(fitting)}."
            )
        return height // self.patch, width // self.patch
