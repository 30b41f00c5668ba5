"""EDM2's U-Net, whose layers keep the magnitude of features and weights: Karras et al. 2024, configuration G."""

import math
from collections.abc import Sequence

from torch import Tensor

from fewstep.networks.edm2_blocks import with_ones
from fewstep.networks.edm2_parts import EDM2Parts
from fewstep.networks.edm2_settings import EDM2Settings
from fewstep.networks.embeddings import Conditions, Positional
from fewstep.networks.magnitude import MPFourier, MPLinear, mp_silu, mp_sum
from fewstep.networks.network import Network

LABELS = 0.5  # their share in the embedding


class EDM2Conditioning(Conditions):
    """Times, labels and augmentation as one vector, [B, channels].

    The second time and the augmentation are layers with a gain that begins at 0, so a network that is told them starts
    as the same function without them. The paper has neither.
    """

    def __init__(self, channels: int, noise_channels: int, num_classes: int, settings: EDM2Settings):
        super().__init__(noise_channels, num_classes, settings.c_noise, settings.c_noise_scale)
        fourier = settings.embedding == "fourier"
        self.time = MPFourier(noise_channels, settings.fourier_scale) if fourier else Positional(noise_channels)
        self.scale = 1.0 if fourier else math.sqrt(2)  # for unit magnitude, which MPFourier has by itself
        self.noise = MPLinear(noise_channels, channels)
        self.labels = MPLinear(num_classes, channels) if num_classes else None
        self.second = MPLinear(noise_channels, channels, gain=True) if settings.second_time else None
        self.augment = MPLinear(settings.augment_dim, channels, gain=True) if settings.augment_dim else None

    def forward(
        self, c_noise: Tensor, labels: Tensor | None = None, second: Tensor | None = None, augment: Tensor | None = None
    ) -> Tensor:
        times = self.embed(c_noise) * self.scale
        emb, labels = self.noise(times), self.one_hot(labels, times)
        if second is not None:
            emb = emb + self.given("second", "second_time")(self.embed(second) * self.scale)
        if augment is not None:
            emb = emb + self.given("augment", "augment_dim")(augment)
        if self.labels is not None:
            emb = mp_sum(emb, self.labels(labels * math.sqrt(self.num_classes)), LABELS)
        return mp_silu(emb)


class EDM2(Network):
    """A U-Net for images [C, H, W].

    Raises ValueError for a shape that cannot be halved at each level, and for sizes of attention that it has not.
    """

    Settings = EDM2Settings

    def __init__(self, shape: Sequence[int], num_classes: int, settings: EDM2Settings):
        super().__init__(shape, num_classes, settings)
        self.shape = tuple(shape)
        parts = EDM2Parts(self.shape, settings)
        # The order of these lines decides the seeded weights: each draws from the same generator.
        self.embed = EDM2Conditioning(parts.emb_channels, parts.noise_channels, num_classes, settings)
        self.c_noise = self.embed.c_noise
        self.stem = parts.stem()
        self.encoder = parts.encoder()
        self.middle = parts.middle()
        self.decoder = parts.decoder()
        self.output = parts.output()

    @property
    def last_layer(self) -> Tensor:
        """The weights of the last layer, at whose gradients losses are balanced."""
        return self.output.weight

    def transform(self, x: Tensor, emb: Tensor) -> Tensor:
        x = self.stem(with_ones(x))
        skips = [x]
        for level in self.encoder.values():
            x = level(x, emb, skips)
        for block in self.middle:
            x = block(x, emb)
        for level in self.decoder.values():
            x = level(x, emb, skips)
        return self.output(x)
