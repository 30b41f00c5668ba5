"""Pictures in folders."""

from collections.abc import Mapping
from pathlib import Path

from PIL import Image


def write_pictures(pictures: Mapping[str, Image.Image], folder: Path) -> None:
    """A PNG below `folder` for each name, which may name folders too: {"inpaint/0000": picture}."""
    for name, picture in pictures.items():
        file = folder / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        picture.save(file)
