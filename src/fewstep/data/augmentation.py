"""Augmentation that a generator does not learn to make: Karras et al. 2022, App. F.2.

Images are transformed at random, and the network is told how, in labels that are 0 where nothing was done. Samples are
made with zeros, and so look like the images as they are.
"""

from dataclasses import dataclass, fields
from functools import reduce

import torch
from torch import Tensor

from fewstep.data.resampling import Padding, resample
from fewstep.data.space import DataSpace
from fewstep.data.transformations import COLOURS, GEOMETRY, PIXELS, TWO_COLUMNS, Draws
from fewstep.support.checks import between, check_fields
from fewstep.support.errors import InvalidInput

NUMERICS = 1  # of augmented images, in the trainings that have them: see fewstep.training.numerics
TRANSFORMATIONS = PIXELS | GEOMETRY | COLOURS


@dataclass(frozen=True)
class Augmentation:
    """How often each transformation is made: from 0, never, to 1, of every image.

    xflip, yflip: mirrored from left to right, or top to bottom, every other time. rotate_int: quarter turns.
    translate_int: moved by whole pixels, up to an eighth of the size; translate_frac: by a normal distance, an eighth
    its deviation. scale, aniso: larger or smaller, by one factor or along one direction. rotate_frac: by any angle. The
    others change colours. (EDM's settings for CIFAR-10: 1 for xflip; .12 for yflip, scale, rotate_frac, aniso and
    translate_frac.)
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    xflip: float = 0.0
    yflip: float = 0.0
    rotate_int: float = 0.0
    translate_int: float = 0.0
    scale: float = 0.0
    rotate_frac: float = 0.0
    aniso: float = 0.0
    translate_frac: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    lumaflip: float = 0.0
    hue: float = 0.0
    saturation: float = 0.0

    def __post_init__(self):
        check_fields(self, **dict.fromkeys((f.name for f in fields(self)), between(0, 1)))

    @property
    def used(self) -> dict[str, float]:
        """The transformations that are ever made, with how often."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name)}

    @property
    def columns(self) -> int:
        """The width of the labels: a network's augment_dim."""
        return sum(1 + (name in TWO_COLUMNS) for name in self.used)

    def check_data(self, space: DataSpace) -> None:
        """Raise ValueError if these data cannot be transformed so."""
        if self.used and space.kind == "points":
            raise InvalidInput(f"training.augment must be left out, since {space.name} are points.")
        if space.kind == "points":
            return
        channels, height, width = space.shape
        if (colours := [name for name in self.used if name in COLOURS]) and channels != 3:
            raise InvalidInput(
                f"training.augment.{colours[0]} must be 0, since the images of {space.name} have {channels} channels: "
                "transformations of colours need 3."
            )
        if self.rotate_int and height != width:
            raise InvalidInput(
                f"training.augment.rotate_int must be 0, since the images of {space.name} are {width} x {height} "
                "pixels: quarter turns need squares."
            )

    def __call__(self, images: Tensor, draws: Draws, padding: Padding | None = None) -> tuple[Tensor, Tensor]:
        """Images [B, C, H, W] transformed, and what the network is told of it, [B, columns].

        An image depends on its own draws alone. padding: of fewstep.data.resampling.
        """
        size = (images.shape[2], images.shape[3])
        changes = {name: TRANSFORMATIONS[name](draws, often, size) for name, often in self.used.items()}
        pixels, geometry, colours = (
            [changes[name][0] for name in kind if name in changes] for kind in (PIXELS, GEOMETRY, COLOURS)
        )
        for move in pixels:
            images = move(images)
        if geometry:
            images = _moved(images, reduce(torch.matmul, geometry), padding)
        if colours:
            images = _coloured(images, reduce(lambda before, after: after @ before, colours))
        told = [column.float() for _, columns in changes.values() for column in columns]
        return images, torch.stack(told, 1).to(images.device, non_blocking=True)


def _moved(images: Tensor, matrices: Tensor, padding: Padding | None) -> Tensor:
    """Those images resampled that their matrix moves; it is known without asking the device."""
    places = (matrices != torch.eye(3)).flatten(1).any(1).nonzero()[:, 0]
    if not len(places):
        return images
    moved = resample(images[places], matrices[places], padding)
    return images.index_copy(0, places.to(images.device), moved)


def _coloured(images: Tensor, matrices: Tensor) -> Tensor:
    matrices = matrices.to(images)
    return torch.einsum("bij,bjhw->bihw", matrices[:, :3, :3], images) + matrices[:, :3, 3, None, None]
