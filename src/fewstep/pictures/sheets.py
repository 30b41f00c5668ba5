"""Pictures of images: grids and sample sheets."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

GAP = 2
SQUARE, CHECKER = 6, (235, 255)  # pixels and tones of the ground under transparent images
INK, QUIET, PAPER, FRAME = (30, 30, 30), (110, 110, 110), (255, 255, 255), (105, 115, 130)


def as_picture(image: np.ndarray) -> Image.Image:
    """uint8 [C, H, W], C 1 (gray), 3 or 4 (with transparency) -> a picture."""
    return Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0))


def tile(images: np.ndarray, columns: int = 8, side: int = 48) -> np.ndarray:
    """A grid of uint8 images [N, C, H, W], row by row: uint8 [height, width, 3], or 4 where images are transparent.

    Pixels are repeated a whole number of times, until the smaller side of an image is at least `side`.
    """
    factor = max(1, -(-side // min(images.shape[2:])))
    pictures = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
    pictures = pictures.transpose(0, 2, 3, 1).repeat(factor, axis=1).repeat(factor, axis=2)
    height, width = pictures.shape[1] + GAP, pictures.shape[2] + GAP
    rows = -(-len(pictures) // columns)
    frame = FRAME if pictures.shape[-1] == 3 else (*FRAME, 255)
    grid = np.full((rows * height + GAP, columns * width + GAP, len(frame)), frame, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = GAP + i // columns * height, GAP + i % columns * width
        grid[top : top + height - GAP, left : left + width - GAP] = picture
    return grid


def sheet(
    rows: Sequence[tuple[str, np.ndarray]], title: str = "", columns: int = 16, side: int = 48, size: int = 17
) -> Image.Image:
    """A sample sheet: for each (title, uint8 images [n, C, H, W]) a row of the first images, its title on the left.

    "model sampler\\nNFE" as a title makes two lines, the second quieter.
    """
    font, heading = ImageFont.load_default(size), ImageFont.load_default(size * 1.3)
    strips = [tile(images[:columns], min(columns, max(len(images) for _, images in rows)), side) for _, images in rows]
    margin = 24 + int(max(font.getlength(line) for text, _ in rows for line in text.split("\n")))
    top = size * 3 if title else GAP * 4
    height = top + sum(len(strip) for strip in strips) + GAP * 4 * len(strips)
    picture = Image.new("RGB", (margin + max(strip.shape[1] for strip in strips) + 12, height), PAPER)
    draw = ImageDraw.Draw(picture)
    draw.text((12, top // 2), title, INK, heading, anchor="lm")
    for (text, _), strip in zip(rows, strips, strict=True):
        picture.paste(opaque(Image.fromarray(strip)), (margin, top))
        _label(draw, text, (12, top + len(strip) / 2), font, size)
        top += len(strip) + GAP * 4
    return picture


def opaque(picture: Image.Image) -> Image.Image:
    """A picture as a page shows it: what is transparent is on a pale checker."""
    if picture.mode != "RGBA":
        return picture
    rows, columns = np.indices((picture.height, picture.width)) // SQUARE
    tones = np.where((rows + columns) % 2, *CHECKER).astype(np.uint8)
    return Image.alpha_composite(Image.fromarray(tones).convert("RGBA"), picture).convert("RGB")


def _label(
    draw: ImageDraw.ImageDraw,
    text: str,
    middle: tuple[float, float],
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    size: int,
) -> None:
    lines = text.split("\n")
    for i, line in enumerate(lines):
        y = middle[1] + (i - (len(lines) - 1) / 2) * size * 1.25
        draw.text((middle[0], y), line, QUIET if i else INK, font, anchor="lm")
