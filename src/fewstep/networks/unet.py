"""One U-Net: DDPM++, NCSN++, EDM's ADM and OpenAI's ADM are settings of it (see released.py)."""

from collections.abc import Sequence
from typing import cast

from torch import Tensor

from fewstep.networks.blocks import DecoderLevel
from fewstep.networks.embeddings import Conditioning
from fewstep.networks.network import Network
from fewstep.networks.unet_parts import Parts
from fewstep.networks.unet_settings import UNetSettings


class UNet(Network):
    """A U-Net for images [C, H, W].

    Raises ValueError for a shape that cannot be halved at each level, and for sizes of attention that it has not.
    """

    Settings = UNetSettings

    def __init__(self, shape: Sequence[int], num_classes: int, settings: UNetSettings):
        super().__init__(shape, num_classes, settings)
        self.shape = tuple(shape)
        parts = Parts(self.shape, settings)
        # The order of these lines decides the seeded weights: each draws from the same generator.
        self.embed = Conditioning(parts.emb_channels, parts.noise_channels, num_classes, settings)
        self.c_noise = self.embed.c_noise
        self.stem = parts.stem()
        self.encoder = parts.encoder()
        self.middle = parts.middle()
        self.decoder = parts.decoder()

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last layer, at whose gradients losses are balanced."""
        last = cast(DecoderLevel, list(self.decoder.values())[-1])
        assert last.output is not None  # the largest size has an output in either decoder
        return last.output.conv.weight

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        image, x = x, self.stem(x)
        skips = [x]
        for level in self.encoder.values():
            x, image = level(x, image, emb, skips)
        for block in self.middle:
            x = block(x, emb)
        image = None  # the encoder's is the input made smaller, the decoder's is the output made larger
        for level in self.decoder.values():
            x, image = level(x, image, emb, skips)
        assert image is not None
        return image
