"""A residual network for points."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import silu

from fewstep.networks.conditioned_block import ConditionedBlock
from fewstep.networks.embeddings import Conditioning, EmbeddingSettings
from fewstep.networks.layers import INITS, GroupNorm, Init, NormalisedScaleShift, ScaleShift, initialised
from fewstep.networks.network import Network
from fewstep.support.errors import InvalidInput


class PointBlock(ConditionedBlock):
    """Two linear layers beside a shortcut, with a scale and a shift from the embedding between them."""

    def __init__(self, channels: int, emb_channels: int, dropout: float, double_norm: bool, init: Init):
        super().__init__()
        self.linear_in = initialised(nn.Linear(channels, channels), init)
        modulation = NormalisedScaleShift if double_norm else ScaleShift
        self.modulation = modulation(channels, emb_channels, GroupNorm, init)
        self.dropout = nn.Dropout(dropout)
        self.linear_out = initialised(nn.Linear(channels, channels), init, init.last)

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        return x + self.linear_out(self.dropout(silu(self.modulation(self.linear_in(silu(x)), emb))))


@dataclass(frozen=True, kw_only=True)
class MLPSettings(EmbeddingSettings):
    """The settings of the MLP. Widths are in units of `channels`."""

    channels: int = 128
    channel_mult_emb: float = 1  # width of the embedding
    channel_mult_noise: float = 1  # number of sines and cosines that the embedding is made from
    num_blocks: int = 4
    dropout: float = 0.0
    double_norm: bool = False  # both the scale and the shift of the embedding are normalised over channels


class MLP(Network):
    """A residual network for points [D]."""

    Settings = MLPSettings

    def __init__(self, shape: Sequence[int], num_classes: int, settings: MLPSettings):
        super().__init__(shape, num_classes, settings)
        if len(shape) != 1:
            raise InvalidInput(
                f"the network 'mlp' takes points of shape [D], got {list(shape)}: use 'unet' for images."
            )
        self.shape = tuple(shape)
        channels, init = settings.channels, INITS[settings.init]
        emb_channels = int(channels * settings.channel_mult_emb)
        noise_channels = int(channels * settings.channel_mult_noise)
        # The order of these lines decides the seeded weights: each draws from the same generator.
        self.embed = Conditioning(emb_channels, noise_channels, num_classes, settings)
        self.c_noise = self.embed.c_noise
        self.stem = initialised(nn.Linear(shape[0], channels), init)
        block = partial(PointBlock, channels, emb_channels, settings.dropout, settings.double_norm, init)
        self.blocks = nn.ModuleList(block() for _ in range(settings.num_blocks))
        self.norm = GroupNorm(channels)
        self.head = initialised(nn.Linear(channels, shape[0]), init, init.last)

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last layer, at whose gradients losses are balanced."""
        return self.head.weight

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, emb)
        return self.head(silu(self.norm(x)))
