"""Images and masks from files. What does not fit the data of a model is refused, not converted."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from fewstep.data.decoding import check_size, named, open_picture
from fewstep.data.encoded import EncodedPictures
from fewstep.data.given import GivenPicture, read_given, read_one, reader_for
from fewstep.data.space import DataSpace
from fewstep.editing.projection import MASKS, named_mask
from fewstep.support.errors import InvalidInput
from fewstep.support.files import home_path
from fewstep.support.names import check_name


def read_images(
    path: Path | str, space: DataSpace, factor: int = 1, source: Mapping[str, Any] | None = None
) -> tuple[list[str], np.ndarray]:
    """Names and uint8 [N, C, H, W] of the pictures in a folder, an archive or an array, or of the one picture.

    factor: of super-resolution; images smaller by this factor are taken too, and their pixels repeated. source: where
    the data came from, as their store says, whose settings are then used. Raises ValueError for a picture of another
    size, or for a colour picture where the data are grey.
    """
    found = read_given(reader_for(home_path(path), space, source))
    return [Path(picture.name).name for picture in found], fitting_images(found, space, factor, source)


def fitting_images(
    found: Sequence[GivenPicture], space: DataSpace, factor: int = 1, source: Mapping[str, Any] | None = None
) -> np.ndarray:
    """uint8 [N, C, H, W] of pictures that were read, which read_images would refuse or take."""
    return np.stack([_fitting(picture, space, factor, bool(source and "mode" in source)) for picture in found])


def read_image(file: BinaryIO, name: str, space: DataSpace, factor: int = 1) -> np.ndarray:
    """uint8 [C, H, W] of one, as read_images has it. name: what it is called where it is refused."""
    return _fitting(read_one(reader_for(name, space), name, lambda: file), space, factor, False)


def _fitting(picture: GivenPicture, space: DataSpace, factor: int, as_the_data: bool) -> np.ndarray:
    """The pixels of a picture, if they are as the space has them. as_the_data: even if colours were lost."""
    (_, *size), image = space.shape, picture.pixels
    if "colour to grayscale" in picture.notes and not as_the_data:
        raise InvalidInput(f"{picture.name} must be grey, since {space.name} have one channel, and it has colours.")
    if list(image.shape[1:]) == [side // factor for side in size]:
        image = image.repeat(factor, 1).repeat(factor, 2)
    if list(image.shape[1:]) != size:
        raise InvalidInput(
            f"{picture.name} must have {_words(size)} pixels, as {space.name} have, got {_words(image.shape[1:])}."
        )
    return image


def read_mask(file: Path | BinaryIO, name: str) -> Tensor:
    """bool [H, W]: True where the picture is white, which means missing."""
    with named(name), open_picture(file) as image:
        check_size(image, EncodedPictures.most_pixels)
        return torch.from_numpy(np.array(image.convert("L")) >= 128)


def find_mask(mask: Tensor | str, size: Sequence[int]) -> Tensor:
    """bool [H, W], True where pixels are missing: the mask itself, a name in MASKS, or a picture of this size."""
    if isinstance(mask, str):
        if mask in MASKS:
            return named_mask(mask, size)
        if not Path(mask).is_file():
            check_name("mask or picture", mask, MASKS)
        missing, name = read_mask(Path(mask), mask), f"the mask {mask}"
    else:
        missing, name = mask, "the mask"
    if tuple(missing.shape) != tuple(size):
        raise InvalidInput(f"{name} must have {_words(size)} pixels, as the images have, got {_words(missing.shape)}.")
    if not 0 < missing.sum() < missing.numel():
        raise InvalidInput(f"{name} must have both white pixels (missing) and black ones (known).")
    return missing


def _words(size: Sequence[int]) -> str:
    height, width = size
    return f"{width} x {height}"
