"""Images and masks from files. What does not fit the data of a model is refused, not converted."""

from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from fewstep.data.decoding import FORMATS, decode, examine, named
from fewstep.data.folder import SUFFIXES
from fewstep.data.space import DataSpace
from fewstep.editing.projection import MASKS, named_mask
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


def read_images(source: Path | str, space: DataSpace, factor: int = 1) -> tuple[list[str], np.ndarray]:
    """Names and uint8 [N, C, H, W] of a file or of the files in a folder.

    factor: of super-resolution; images smaller by this factor are accepted too, and their pixels repeated. Raises
    ValueError for a picture of another size, or for a colour picture where the data are grey.
    """
    source = Path(source).expanduser()
    files = sorted(f for f in source.iterdir() if f.suffix.lower() in SUFFIXES) if source.is_dir() else [source]
    if not source.exists() or not files:
        raise InvalidInput(f"{source} is neither a picture nor a folder of pictures ({', '.join(SUFFIXES)}).")
    return [file.name for file in files], np.stack([read_image(file, str(file), space, factor) for file in files])


def read_image(file: Path | IO[bytes], name: str, space: DataSpace, factor: int = 1) -> np.ndarray:
    """One picture, uint8 [C, H, W], checked as in read_images. name: how an error calls it."""
    channels, *size = space.shape
    mode = {1: "grayscale", 3: "rgb"}[channels]
    with named(name):
        _, notes = examine(file, mode)
        image = decode(file, mode, "white", None, "box")
    if "colour to grayscale" in notes:
        raise InvalidInput(f"{name} must be grey, since {space.name} have one channel, and it has colours.")
    if list(image.shape[1:]) == [side // factor for side in size]:
        image = image.repeat(factor, 1).repeat(factor, 2)
    if list(image.shape[1:]) != size:
        raise InvalidInput(
            f"{name} must have {_words(size)} pixels, as {space.name} have, got {_words(image.shape[1:])}."
        )
    return image


def read_mask(file: Path | IO[bytes], name: str) -> Tensor:
    """bool [H, W]: True where the picture is white, which means missing."""
    with named(name), Image.open(file, formats=FORMATS) as image:
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


def as_picture(image: np.ndarray) -> Image.Image:
    """uint8 [C, H, W], C 1 or 3 -> a picture."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def _words(size: Sequence[int]) -> str:
    height, width = size
    return f"{width} x {height}"
