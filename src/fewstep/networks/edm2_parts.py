"""The parts of EDM2's U-Net, made one after another: stem, encoder, middle, decoder, output."""

from collections.abc import Sequence

from torch import nn

from fewstep.networks.edm2_blocks import Decoder, EDM2Block, Encoder
from fewstep.networks.edm2_settings import EDM2Settings
from fewstep.networks.layers import Down, Up
from fewstep.networks.magnitude import MPConv
from fewstep.networks.unet_sizes import feature_sizes


class EDM2Parts:
    """Makes the parts in the order in which features pass through them: each part's width is the next one's input.

    Weights come from torch's global generator as layers are made, so the order of these calls decides the seeded
    weights.
    """

    def __init__(self, shape: Sequence[int], settings: EDM2Settings):
        self.image_channels, self.settings, self.widths = shape[0], settings, settings.widths
        self.sizes = feature_sizes(shape, settings.channel_mult, settings.attn_resolutions, "edm2")
        emb = max(settings.channel_mult) if settings.channel_mult_emb is None else settings.channel_mult_emb
        self.emb_channels = int(settings.channels * emb)
        self.noise_channels = int(settings.channels * settings.channel_mult_noise)
        self.width = 0  # of the features so far
        self.skips: list[int] = []  # widths of what the encoder keeps for the decoder

    def stem(self) -> MPConv:
        self.width = self.widths[0]
        self.skips.append(self.width)
        return MPConv(self.image_channels + 1, self.width, 3)

    def encoder(self) -> nn.ModuleDict:
        levels = nn.ModuleDict()
        for (height, across), width in zip(self.sizes, self.widths, strict=True):
            down = self._kept(self._block(self.width, height, True, resample=Down())) if levels else None
            attends = height in self.settings.attn_resolutions
            blocks = [self._kept(self._block(width, height, True, attends)) for _ in range(self.settings.num_blocks)]
            levels[f"{height}x{across}"] = Encoder(down, blocks)
        return levels

    def middle(self) -> nn.ModuleList:
        height, _ = self.sizes[-1]
        attends = self.settings.middle_attention
        return nn.ModuleList([self._block(self.width, height, False, attends), self._block(self.width, height, False)])

    def decoder(self) -> nn.ModuleDict:
        levels = nn.ModuleDict()
        for (height, across), width in zip(reversed(self.sizes), reversed(self.widths), strict=True):
            up = self._block(self.width, height, False, resample=Up()) if levels else None
            attends = height in self.settings.attn_resolutions
            blocks = [
                self._block(width, height, False, attends, joined=self.skips.pop())
                for _ in range(self.settings.num_blocks + 1)
            ]
            levels[f"{height}x{across}"] = Decoder(up, blocks)
        assert not self.skips
        return levels

    def output(self) -> MPConv:
        return MPConv(self.width, self.image_channels, 3, gain=True)

    def _kept(self, block: EDM2Block) -> EDM2Block:
        self.skips.append(self.width)
        return block

    def _block(
        self,
        width: int,
        height: int,
        encodes: bool,
        attends: bool = False,
        joined: int = 0,
        resample: Down | Up | None = None,
    ) -> EDM2Block:
        """A block from the features so far, and from `joined` channels of the encoder's, to `width` channels."""
        settings, inputs, self.width = self.settings, self.width + joined, width
        return EDM2Block(
            inputs,
            width,
            encodes=encodes,
            resample=resample,
            heads=settings.heads(width, attends),
            emb_channels=self.emb_channels,
            dropout=settings.dropout_at(height),
            double_norm=settings.double_norm,
        )
