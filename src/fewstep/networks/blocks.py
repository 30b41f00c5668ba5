"""What the U-Net is made of: residual blocks, and levels of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from fewstep.networks.conditioned_block import ConditionedBlock
from fewstep.networks.layers import Attention, Down, Init, Up, conv


class Block(ConditionedBlock):
    """A residual branch modulated by the embedding, beside a shortcut; then attention, if it has heads."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        resample: nn.Module | None = None,
        heads: int = 0,
        emb_channels: int,
        dropout: float,
        modulation: type[nn.Module],
        resample_proj: bool,
        skip_scale: float,
        norm: Callable[[int], nn.Module],
        init: Init,
    ):
        super().__init__()
        self.skip_scale = skip_scale
        self.resample = resample or nn.Identity()
        self.norm_in = norm(inputs)
        self.conv_in = conv(inputs, outputs, 3, init)
        self.modulation = modulation(outputs, emb_channels, norm, init)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = conv(outputs, outputs, 3, init, init.last)
        projected = inputs != outputs or (resample_proj and resample is not None)
        self.shortcut = conv(inputs, outputs, 1, init) if projected else nn.Identity()
        self.attention = Attention(outputs, heads, norm, init) if heads else None

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv_in(self.resample(silu(self.norm_in(x))))
        h = self.conv_out(self.dropout(silu(self.modulation(h, emb))))
        x = (self.shortcut(self.resample(x)) + h) * self.skip_scale
        if self.attention is not None:
            x = (x + self.attention(x)) * self.skip_scale
        return x


class ResampleConv(ConditionedBlock):
    """Another size by one convolution, in place of a resampling block: of stride 2, or after Up."""

    def __init__(self, channels: int, resample: nn.Module, init: Init):
        super().__init__()
        up = isinstance(resample, Up)
        self.resample = resample if up else nn.Identity()
        self.conv = conv(channels, channels, 3, init, stride=1 if up else 2)

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        return self.conv(self.resample(x))


class SkipSide(nn.Module):
    """The encoder "skip": the input image, made smaller, is added at every size."""

    def __init__(self, image_channels: int, inputs: int, outputs: int, resample_filter: Sequence[float], init: Init):
        super().__init__()
        self.down = Down(resample_filter)
        self.conv = conv(image_channels, outputs, 1, init)

    def forward(self, x: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        side = self.down(side)
        return x + self.conv(side), side


class ResidualSide(nn.Module):
    """The encoder "residual": the input of a size, made smaller, is added to its output and is the next one's input."""

    def __init__(self, image_channels: int, inputs: int, outputs: int, resample_filter: Sequence[float], init: Init):
        super().__init__()
        margin = Down(resample_filter).padding
        self.conv = conv(inputs, outputs, 3, init, padding=1 + margin)
        self.down = Down(resample_filter, padded=False)

    def forward(self, x: Tensor, side: Tensor) -> tuple[Tensor, Tensor]:
        x = (x + self.down(self.conv(side))) * 0.5**0.5
        return x, x


class EncoderLevel(nn.Module):
    """One size on the way down. Appends what the decoder will want to skips."""

    def __init__(self, down: nn.Module | None, side: nn.Module | None, blocks: list[Block]):
        super().__init__()
        self.down, self.side, self.blocks = down, side, nn.ModuleList(blocks)

    def forward(self, x: Tensor, side: Tensor, emb: Tensor, skips: list[Tensor]) -> tuple[Tensor, Tensor]:
        if self.down is not None:
            x = self.down(x, emb)
            if self.side is not None:
                x, side = self.side(x, side)
            skips.append(x)
        for block in self.blocks:
            x = block(x, emb)
            skips.append(x)
        return x, side


class Output(nn.Module):
    """From features to an image."""

    def __init__(self, channels: int, image_channels: int, norm: Callable[[int], nn.Module], init: Init):
        super().__init__()
        self.norm = norm(channels)
        self.conv = conv(channels, image_channels, 3, init, init.last)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(silu(self.norm(x)))


class DecoderLevel(nn.Module):
    """One size on the way up. Takes its part of skips; adds to the image if it has an output."""

    def __init__(self, up: nn.Module | None, blocks: list[Block], output: Output | None, up_image: nn.Module):
        super().__init__()
        self.up, self.blocks, self.output, self.up_image = up, nn.ModuleList(blocks), output, up_image

    def forward(
        self, x: Tensor, image: Tensor | None, emb: Tensor, skips: list[Tensor]
    ) -> tuple[Tensor, Tensor | None]:
        if self.up is not None:
            x = self.up(x, emb)
        for block in self.blocks:
            x = block(torch.cat([x, skips.pop()], dim=1), emb)
        if self.output is not None:
            image = self.output(x) if image is None else self.output(x) + self.up_image(image)
        return x, image
