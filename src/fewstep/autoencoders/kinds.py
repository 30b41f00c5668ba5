"""The kinds of autoencoders that there are, and what their descriptions say of sizes. Nothing is loaded for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fewstep.support.checks import at_least, check_value, each, up_to, whole
from fewstep.support.errors import InvalidInput

COUNT = up_to(2**16, whole(at_least(1)))
MOST_HALVINGS = 12


@dataclass(frozen=True)
class Sizes:
    """channels: of images. latent_channels: of their latents. factor: pixels of an image's side for one of a latent."""

    channels: int
    latent_channels: int
    factor: int

    def latent_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Of the latents of images of this shape, [C, h, w]. Raises ValueError for images that it does not take."""
        if len(shape) != 3:
            raise InvalidInput(f"an autoencoder is for images, and these data are points of {shape[0]} numbers")
        if shape[0] != self.channels:
            channels = f"{self.channels} channel{'s' * (self.channels != 1)}"
            raise InvalidInput(f"the autoencoder takes images of {channels}, and these have {shape[0]}")
        if any(side % self.factor for side in shape[1:]):
            raise InvalidInput(
                f"the autoencoder takes images whose sides are multiples of {self.factor} pixels, and these are "
                f"{shape[1]} high and {shape[2]} wide (data.source.resolution sets the size)"
            )
        return (self.latent_channels, *(side // self.factor for side in shape[1:]))


@dataclass(frozen=True)
class Kind:
    """A class of diffusers, by its description's keys. widths: the key of its list of widths, and their number if it is
    left out: each level after the first halves both sides. latent_channels: if they are left out.
    """

    widths: tuple[str, int]
    latent_channels: int = 4

    def sizes(self, config: Mapping[str, Any]) -> Sizes:
        """Raises ValueError for a description whose sizes are none, or that makes other images than it takes."""
        key, levels = self.widths
        channels, latents = config.get("in_channels", 3), config.get("latent_channels", self.latent_channels)
        check_value("in_channels", channels, COUNT)
        check_value("latent_channels", latents, COUNT)
        if (made := config.get("out_channels", channels)) != channels:
            raise InvalidInput.of("out_channels", made, f"{channels}, as in_channels is")
        if key in config:
            check_value(key, config[key], each(COUNT, most=MOST_HALVINGS))
            levels = len(config[key])
        return Sizes(channels, latents, 2 ** (levels - 1))


class Patches(Kind):
    """Each patch of pixels is the channels of one latent: nothing is lost, and nothing is learned. With a patch_size of
    1 latents are the images.
    """

    def __init__(self):
        super().__init__(("", 1))

    def sizes(self, config: Mapping[str, Any]) -> Sizes:
        channels, patch = config.get("in_channels", 3), config.get("patch_size", 1)
        check_value("in_channels", channels, COUNT)
        check_value("patch_size", patch, up_to(256, COUNT))
        return Sizes(channels, channels * patch**2, patch)


PATCHES = "Patches"
KINDS: dict[str, Kind] = {
    "AutoencoderKL": Kind(("block_out_channels", 1)),
    "AutoencoderTiny": Kind(("encoder_block_out_channels", 4)),
    "AutoencoderDC": Kind(("encoder_block_out_channels", 6), latent_channels=32),
    PATCHES: Patches(),
}
