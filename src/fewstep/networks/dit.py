"""A transformer on patches: DiT (Peebles and Xie 2023) and SiT (Ma et al. 2024), with what later papers changed."""

from collections.abc import Sequence

from torch import Tensor, nn

from fewstep.networks.dit_blocks import Head, TransformerBlock
from fewstep.networks.dit_positions import sine_cosine_table
from fewstep.networks.dit_settings import DiTSettings
from fewstep.networks.embeddings import Conditioning
from fewstep.networks.layers import INITS, initialised
from fewstep.networks.network import Network

NOISE_CHANNELS = 256  # number of sines and cosines that the embedding is made from


class DiT(Network):
    """A transformer for images [C, H, W], whose tokens are squares of patch x patch pixels.

    Raises ValueError for points, and for a patch that does not divide both sides of the image.
    """

    Settings = DiTSettings

    def __init__(self, shape: Sequence[int], num_classes: int, settings: DiTSettings):
        super().__init__(shape, num_classes, settings)
        self.shape, self.patch, self.grid = tuple(shape), settings.patch, settings.grid(shape)
        channels, blocks, _ = settings.numbers
        # The order of these lines decides the seeded weights: each draws from the same generator.
        self.embed = embed = Conditioning(channels, NOISE_CHANNELS, num_classes, settings)
        for layer in (embed.hidden, embed.out, embed.labels):
            if layer is not None and not layer.weight.is_meta:
                nn.init.normal_(layer.weight, std=0.02)  # as in their code
        self.c_noise = embed.c_noise
        self.stem = initialised(nn.Conv2d(shape[0], channels, self.patch, self.patch), INITS[settings.init])
        self.positions: Tensor
        self.register_buffer("positions", sine_cosine_table(*self.grid, channels))
        self.blocks = nn.ModuleList(TransformerBlock(settings, self.grid) for _ in range(blocks))
        self.head = Head(settings, self.patch**2 * shape[0])

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last layer, at whose gradients losses are balanced."""
        return self.head.linear.weight

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.stem(x).flatten(2).transpose(1, 2).contiguous() + self.positions
        for block in self.blocks:
            x = block(x, emb)
        return self.image(self.head(x, emb))

    def image(self, patches: Tensor) -> Tensor:
        """The values of patches (row, column, channel), [B, rows columns, patch patch C], as images [B, C, H, W]."""
        squares = patches.unflatten(2, (self.patch, self.patch, -1)).unflatten(1, self.grid)
        return squares.permute(0, 5, 1, 3, 2, 4).reshape(len(patches), *self.shape)
