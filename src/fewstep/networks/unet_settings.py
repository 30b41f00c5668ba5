"""Every setting of the U-Net, with its default."""

from collections.abc import Sequence
from dataclasses import dataclass

from fewstep.networks.blocks import ResidualSide, SkipSide
from fewstep.networks.embeddings import EmbeddingSettings
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

ENCODERS: dict[str, type[SkipSide | ResidualSide] | None] = {
    "standard": None,
    "skip": SkipSide,
    "residual": ResidualSide,
}


@dataclass(frozen=True, kw_only=True)
class UNetSettings(EmbeddingSettings):
    """The settings of the U-Net. Raises ValueError for a name that is not there.

    Widths are in units of `channels`, sizes in pixels of a feature map's height.
    """

    channels: int = 64
    channel_mult: Sequence[float] = (1, 2)  # width at each size, the largest size first
    stem_mult: float = 1  # width of the first convolution
    channel_mult_emb: float = 4  # width of the embedding
    channel_mult_noise: float = 1  # number of sines and cosines that the embedding is made from
    num_blocks: int = 2  # of each size in the encoder; the decoder has one more
    attn_resolutions: Sequence[int] = ()  # sizes at which blocks have attention
    middle_attention: bool = True
    decoder_attention: str = "all"  # or "last": only the last block of a size
    num_heads: int = 1
    decoder_heads: int = 0  # number of heads in the decoder, 0 for num_heads
    head_channels: int = 0  # channels of each head; if given, it decides the number of heads
    dropout: float = 0.0
    adaptive_scale: bool = True  # the embedding scales and shifts features, or only shifts them
    double_norm: bool = False  # both the scale and the shift are normalised over channels
    skip_scale: float = 1.0  # multiplies the sum at the end of each residual branch
    encoder: str = "standard"  # or "skip", "residual": the image enters at every size
    decoder: str = "standard"  # or "skip": the image is a sum over sizes
    resample: str = "block"  # or "conv": what halves and doubles the size
    resample_filter: Sequence[float] = (1, 1)
    resample_proj: bool = False  # a 1x1 convolution in the shortcut of resampling blocks
    group_channels: int = 4  # fewest channels in a group of GroupNorm
    norm_eps: float = 1e-5

    def __post_init__(self):
        check_name("encoder", self.encoder, ENCODERS)
        check_name("decoder", self.decoder, ("skip", "standard"))
        check_name("decoder_attention", self.decoder_attention, ("all", "last"))
        check_name("resample", self.resample, ("block", "conv"))
        super().__post_init__()
        if self.double_norm and not self.adaptive_scale:
            raise InvalidInput("adaptive_scale must be true if double_norm is, which normalises its output.")

    def heads(self, width: int, attends: bool, number: int) -> int:
        """Attention heads of a block, 0 for no attention."""
        if not attends:
            return 0
        return max(1, width // self.head_channels) if self.head_channels else number
