"""The parts of a U-Net, made one after another: stem, encoder, middle, decoder."""

from collections.abc import Sequence
from functools import partial

from torch import nn

from fewstep.networks.blocks import Block, DecoderLevel, EncoderLevel, Output, ResampleConv
from fewstep.networks.layers import INITS, Down, GroupNorm, NormalisedScaleShift, ScaleShift, Shift, Up, conv
from fewstep.networks.unet_settings import ENCODERS, UNetSettings
from fewstep.networks.unet_sizes import feature_sizes


class Parts:
    """Makes the parts in the order in which features pass through them: each part's width is the next one's input.

    Weights come from torch's global generator as layers are made, so the order of these calls, and the order within
    them, decides the seeded weights.
    """

    def __init__(self, shape: Sequence[int], settings: UNetSettings):
        self.image_channels, self.settings = shape[0], settings
        self.sizes = feature_sizes(shape, settings.channel_mult, settings.attn_resolutions)
        self.widths = [int(settings.channels * mult) for mult in settings.channel_mult]
        self.emb_channels = int(settings.channels * settings.channel_mult_emb)
        self.noise_channels = int(settings.channels * settings.channel_mult_noise)
        self.init = INITS[settings.init]
        self.norm = partial(GroupNorm, group_channels=settings.group_channels, eps=settings.norm_eps)
        self.modulation = (
            NormalisedScaleShift if settings.double_norm else ScaleShift if settings.adaptive_scale else Shift
        )
        self.width, self.side_width = 0, self.image_channels  # of the features so far, and of the image beside them
        self.skips: list[int] = []  # widths of what the encoder keeps for the decoder

    def stem(self) -> nn.Conv2d:
        self.width = int(self.settings.channels * self.settings.stem_mult)
        self.skips.append(self.width)
        return conv(self.image_channels, self.width, 3, self.init)

    def encoder(self) -> nn.ModuleDict:
        levels = nn.ModuleDict()
        for (height, across), width in zip(self.sizes, self.widths, strict=True):
            down = side = None
            if levels:
                down, side = self._resized(Down(self.settings.resample_filter)), self._side()
                self.skips.append(self.width)
            blocks = [self._encoder_block(width, height) for _ in range(self.settings.num_blocks)]
            levels[f"{height}x{across}"] = EncoderLevel(down, side, blocks)
        return levels

    def middle(self) -> nn.ModuleList:
        heads = self.settings.heads(self.width, self.settings.middle_attention, self.settings.num_heads)
        return nn.ModuleList([self._block(self.width, heads), self._block(self.width)])

    def decoder(self) -> nn.ModuleDict:
        settings, levels = self.settings, nn.ModuleDict()
        largest = self.sizes[0]
        for size, width in zip(reversed(self.sizes), reversed(self.widths), strict=True):
            up = self._resized(Up(settings.resample_filter)) if levels else None
            blocks = [
                self._decoder_block(width, size[0], last=index == settings.num_blocks)
                for index in range(settings.num_blocks + 1)
            ]
            shows = settings.decoder == "skip" or size == largest
            output = Output(self.width, self.image_channels, self.norm, self.init) if shows else None
            levels[f"{size[0]}x{size[1]}"] = DecoderLevel(up, blocks, output, Up(settings.resample_filter))
        assert not self.skips
        return levels

    def _encoder_block(self, width: int, height: int) -> Block:
        attends = height in self.settings.attn_resolutions
        block = self._block(width, self.settings.heads(width, attends, self.settings.num_heads))
        self.skips.append(width)
        return block

    def _decoder_block(self, width: int, height: int, last: bool) -> Block:
        settings = self.settings
        attends = height in settings.attn_resolutions and (settings.decoder_attention == "all" or last)
        heads = settings.heads(width, attends, settings.decoder_heads or settings.num_heads)
        return self._block(width, heads, joined=self.skips.pop())

    def _block(self, width: int, heads: int = 0, joined: int = 0, resample: Down | Up | None = None) -> Block:
        """A block from the features so far, and from `joined` channels of the encoder's, to `width` channels."""
        settings, inputs, self.width = self.settings, self.width + joined, width
        return Block(
            inputs,
            width,
            resample=resample,
            heads=heads,
            emb_channels=self.emb_channels,
            dropout=settings.dropout,
            modulation=NormalisedScaleShift
            if settings.double_norm
            else ScaleShift
            if settings.adaptive_scale
            else Shift,
            resample_proj=settings.resample_proj,
            skip_scale=settings.skip_scale,
            norm=self.norm,
            init=self.init,
        )

    def _resized(self, resample: Down | Up) -> nn.Module:
        if self.settings.resample == "block":
            return self._block(self.width, resample=resample)
        return ResampleConv(self.width, resample, self.init)

    def _side(self) -> nn.Module | None:
        """How the image enters at a smaller size."""
        kind = ENCODERS[self.settings.encoder]
        if kind is None:
            return None
        side = kind(self.image_channels, self.side_width, self.width, self.settings.resample_filter, self.init)
        self.side_width = self.width
        return side
