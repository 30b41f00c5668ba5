"""One U-Net: DDPM++, NCSN++, EDM's ADM and OpenAI's ADM are settings of it (see published.py)."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn

from fewstep.networks.blocks import Block, DecoderLevel, EncoderLevel, Output, ResampleConv, ResidualSide, SkipSide
from fewstep.networks.embeddings import Conditioning
from fewstep.networks.layers import INITS, Down, GroupNorm, NormalisedScaleShift, ScaleShift, Shift, Up, conv
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

ENCODERS = {"standard": None, "skip": SkipSide, "residual": ResidualSide}


class UNet(nn.Module):
    """A U-Net for images [C, H, W]. conditioning: the arguments of Conditioning."""

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int = 0,
        *,
        channels: int = 64,
        channel_mult: Sequence[float] = (1, 2),  # channels of each size, the largest size first, in units of `channels`
        stem_mult: float = 1,  # channels of the first convolution, likewise
        channel_mult_emb: float = 4,  # of the embedding, likewise
        channel_mult_noise: float = 1,  # of the sines and cosines that it is made of, likewise
        num_blocks: int = 2,  # of each size in the encoder; the decoder has one more
        attn_resolutions: Sequence[int] = (),  # heights of the images at which blocks have attention
        middle_attention: bool = True,
        decoder_attention: str = "all",  # or "last": only the last block of a size
        num_heads: int = 1,
        decoder_heads: int = 0,  # the decoder's number of heads where it is another
        head_channels: int = 0,  # in place of numbers of heads: channels of each head
        dropout: float = 0.0,
        adaptive_scale: bool = True,  # the embedding scales and shifts features, or only shifts them
        double_norm: bool = False,  # normalised over channels, both the scale and the shift
        skip_scale: float = 1.0,  # of the sum at the end of each residual branch
        encoder: str = "standard",  # or "skip", "residual": the image enters at every size
        decoder: str = "standard",  # or "skip": the image is a sum over sizes
        resample: str = "block",  # or "conv": what halves and doubles the size
        resample_filter: Sequence[float] = (1, 1),
        resample_proj: bool = False,  # a 1x1 convolution in the shortcut of resampling blocks
        group_channels: int = 4,  # the least in a group of GroupNorm
        norm_eps: float = 1e-5,
        init: str = "kaiming",
        **conditioning,
    ):
        super().__init__()
        check_name("encoder", encoder, ENCODERS)
        check_name("decoder", decoder, ("skip", "standard"))
        check_name("decoder_attention", decoder_attention, ("all", "last"))
        check_name("resample", resample, ("block", "conv"))
        check_name("init", init, INITS)
        if double_norm and not adaptive_scale:
            raise InvalidInput("adaptive_scale must be true if double_norm is, which normalises its output.")
        self.shape = tuple(shape)
        sizes = self._sizes(shape, len(channel_mult))
        if unknown := set(attn_resolutions) - {height for height, _ in sizes}:
            raise InvalidInput(
                f"attn_resolutions must be sizes of this network ({[h for h, _ in sizes]}), got {sorted(unknown)}."
            )
        emb_channels, noise_channels = int(channels * channel_mult_emb), int(channels * channel_mult_noise)
        self.embed = Conditioning(emb_channels, noise_channels, num_classes, init=init, **conditioning)
        self.c_noise = self.embed.c_noise

        init, norm = INITS[init], partial(GroupNorm, group_channels=group_channels, eps=norm_eps)
        modulation = NormalisedScaleShift if double_norm else ScaleShift if adaptive_scale else Shift
        settings = dict(dropout=dropout, modulation=modulation, skip_scale=skip_scale, resample_proj=resample_proj)
        block = partial(Block, emb_channels=emb_channels, norm=norm, init=init, **settings)
        widths = [int(channels * mult) for mult in channel_mult]

        def heads(width: int, attends: bool, number: int = num_heads) -> int:
            return 0 if not attends else max(1, width // head_channels) if head_channels else number

        def resized(width: int, to: nn.Module) -> nn.Module:
            return block(width, width, resample=to) if resample == "block" else ResampleConv(width, to, init)

        now = int(channels * stem_mult)
        self.stem = conv(shape[0], now, 3, init)
        skips, side_width = [now], shape[0]

        self.encoder = nn.ModuleDict()
        for (height, across), width in zip(sizes, widths, strict=True):
            down = side = None
            if self.encoder:
                down = resized(now, Down(resample_filter))
                if ENCODERS[encoder]:
                    side = ENCODERS[encoder](shape[0], side_width, now, resample_filter, init)
                    side_width = now
                skips.append(now)
            blocks = []
            for _ in range(num_blocks):
                blocks.append(block(now, width, heads=heads(width, height in attn_resolutions)))
                now = width
                skips.append(now)
            self.encoder[f"{height}x{across}"] = EncoderLevel(down, side, blocks)

        self.middle = nn.ModuleList([block(now, now, heads=heads(now, middle_attention)), block(now, now)])

        self.decoder = nn.ModuleDict()
        for (height, across), width in reversed(list(zip(sizes, widths, strict=True))):
            up = resized(now, Up(resample_filter)) if self.decoder else None
            blocks = []
            for index in range(num_blocks + 1):
                attends = height in attn_resolutions and (decoder_attention == "all" or index == num_blocks)
                blocks.append(block(now + skips.pop(), width, heads=heads(width, attends, decoder_heads or num_heads)))
                now = width
            output = Output(now, shape[0], norm, init) if decoder == "skip" or height == shape[1] else None
            self.decoder[f"{height}x{across}"] = DecoderLevel(up, blocks, output, Up(resample_filter))
        assert not skips

    def _sizes(self, shape: Sequence[int], levels: int) -> list[tuple[int, int]]:
        if len(shape) != 3:
            raise InvalidInput(
                f"the network 'unet' takes images of shape [C, H, W], got {list(shape)}: use 'mlp' for points."
            )
        if not levels or shape[1] % 2 ** (levels - 1) or shape[2] % 2 ** (levels - 1):
            raise InvalidInput(
                f"channel_mult has {levels} entries, but {shape[1]}x{shape[2]} cannot be halved {levels - 1} times."
            )
        return [(shape[1] >> level, shape[2] >> level) for level in range(levels)]

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights of the last layer."""
        return list(self.decoder.values())[-1].output.conv.weight

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None = None,
        second: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """The arguments of build_network's networks -> [B, C, H, W]."""
        emb = self.embed(c_noise, labels, second, augment)
        image, x = x, self.stem(x)
        skips = [x]
        for level in self.encoder.values():
            x, image = level(x, image, emb, skips)
        for block in self.middle:
            x = block(x, emb)
        image = None
        for level in self.decoder.values():
            x, image = level(x, image, emb, skips)
        return image
