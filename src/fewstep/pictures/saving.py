"""Pictures in folders."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image

from fewstep.pictures.sheets import opaque
from fewstep.support.files import replaced_file

TRANSPARENT = (".png", ".webp", ".tif", ".tiff", ".avif")  # formats that keep it


def save_picture(picture: Image.Image, file: Path) -> None:
    """A picture in a file of any format: with its transparency where the format has it, else on a pale checker."""
    with replaced_file(file) as partial:
        (picture if file.suffix.lower() in TRANSPARENT else opaque(picture)).save(partial)


def write_pictures(pictures: Mapping[str, Image.Image], folder: Path) -> None:
    """A PNG below `folder` for each name, which may name folders too: {"inpaint/0000": picture}."""
    for name, picture in pictures.items():
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
