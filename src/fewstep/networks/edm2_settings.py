"""Every setting of EDM2's U-Net, with its default."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewstep.networks.embeddings import EMBEDDINGS
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


@dataclass(frozen=True, kw_only=True)
class EDM2Settings:
    """The settings of EDM2's U-Net. Raises ValueError for a name that is not there.

    Widths are in units of `channels`, sizes in pixels of a feature map's height.
    """

    channels: int = 64
    channel_mult: Sequence[float] = (1, 2)  # width at each size, the largest size first
    channel_mult_emb: float | None = None  # width of the embedding, None for that of the widest features
    channel_mult_noise: float = 1  # number of cosines that the embedding is made from
    num_blocks: int = 2  # of each size in the encoder; the decoder has one more
    attn_resolutions: Sequence[int] = ()  # sizes at which blocks have attention
    middle_attention: bool = True
    head_channels: int = 64  # of each attention head
    dropout: float = 0.0
    dropout_size: int = 0  # the largest size with dropout, 0 for every size
    double_norm: bool = False  # features and their scale are normalised over channels
    embedding: str = "fourier"  # or "positional"
    fourier_scale: float = 1.0
    c_noise: str = "log"  # or "angle": for the preconditioner, which makes the times
    c_noise_scale: float = 1.0  # multiplies the times
    augment_dim: int = 0
    second_time: bool = False  # a second time, added to the first; it starts without effect

    def __post_init__(self):
        check_name("embedding", self.embedding, EMBEDDINGS)
        if self.head_channels < 1:
            raise InvalidInput.of("head_channels", self.head_channels, "at least 1 with the network 'edm2'")
        if narrow := [mult for mult in self.channel_mult if self.channels * mult < 1]:
            raise InvalidInput.of("channels x channel_mult", self.channels * narrow[0], "at least 1 at each size")

    @property
    def widths(self) -> list[int]:
        """Channels at each size, the largest size first."""
        return [int(self.channels * mult) for mult in self.channel_mult]

    def heads(self, width: int, attends: bool) -> int:
        """Attention heads of a block, 0 for no attention."""
        heads = max(1, width // self.head_channels) if attends else 0
        if heads and width % heads:
            raise InvalidInput(
                f"{width} channels cannot be divided among {heads} attention heads: choose head_channels (now "
                f"{self.head_channels}), channels and channel_mult so that they can."
            )
        return heads

    def dropout_at(self, height: int) -> float:
        """The dropout of blocks of a size."""
        return self.dropout if not self.dropout_size or height <= self.dropout_size else 0.0
