"""A residual network for points."""

from collections.abc import Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn.functional import silu

from fewstep.networks.embeddings import Conditioning
from fewstep.networks.layers import INITS, GroupNorm, Init, NormalisedScaleShift, ScaleShift, initialised
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


class PointBlock(nn.Module):
    """Two linear layers beside a shortcut, with a scale and a shift from the embedding between them."""

    def __init__(self, channels: int, emb_channels: int, dropout: float, double_norm: bool, init: Init):
        super().__init__()
        self.linear_in = initialised(nn.Linear(channels, channels), init)
        modulation = NormalisedScaleShift if double_norm else ScaleShift
        self.modulation = modulation(channels, emb_channels, GroupNorm, init)
        self.dropout = nn.Dropout(dropout)
        self.linear_out = initialised(nn.Linear(channels, channels), init, init.last)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return x + self.linear_out(self.dropout(silu(self.modulation(self.linear_in(silu(x)), emb))))


class MLP(nn.Module):
    """A residual network for points [D]. conditioning: the arguments of Conditioning."""

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int = 0,
        *,
        channels: int = 128,
        channel_mult_emb: float = 1,
        channel_mult_noise: float = 1,
        num_blocks: int = 4,
        dropout: float = 0.0,
        double_norm: bool = False,  # of the embedding's scale and shift, over channels
        init: str = "kaiming",
        **conditioning,
    ):
        super().__init__()
        if len(shape) != 1:
            raise InvalidInput(
                f"the network 'mlp' takes points of shape [D], got {list(shape)}: use 'unet' for images."
            )
        check_name("init", init, INITS)
        self.shape = tuple(shape)
        emb_channels, noise_channels = int(channels * channel_mult_emb), int(channels * channel_mult_noise)
        self.embed = Conditioning(emb_channels, noise_channels, num_classes, init=init, **conditioning)
        self.c_noise = self.embed.c_noise
        init = INITS[init]
        self.stem = initialised(nn.Linear(shape[0], channels), init)
        block = partial(PointBlock, channels, emb_channels, dropout, double_norm, init)
        self.blocks = nn.ModuleList(block() for _ in range(num_blocks))
        self.norm = GroupNorm(channels)
        self.head = initialised(nn.Linear(channels, shape[0]), init, init.last)

    @property
    def last_layer(self) -> nn.Parameter:
        """The weights of the last layer."""
        return self.head.weight

    def forward(
        self,
        x: Tensor,
        c_noise: Tensor,
        labels: Tensor | None = None,
        second: Tensor | None = None,
        augment: Tensor | None = None,
    ) -> Tensor:
        """The arguments of build_network's networks -> [B, D]."""
        emb = self.embed(c_noise, labels, second, augment)
        x = self.stem(x)
        for block in self.blocks:
            x = block(x, emb)
        return self.head(silu(self.norm(x)))
