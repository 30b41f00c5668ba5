"""From an encoded picture to uint8 [C, H, W]: whatever its depth, palette, transparency or orientation."""

import warnings
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import IO, cast

import numpy as np
from PIL import Image, ImageColor, ImageFile, ImageOps, UnidentifiedImageError

from fewstep.data.formats import FORMATS
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.file_kinds import HEAD, file_kind

CHANNELS = {"rgb": "RGB", "grayscale": "L", "rgba": "RGBA"}
FILTERS = {"lanczos": Image.Resampling.LANCZOS, "box": Image.Resampling.BOX}
DEEP = ("I;16", "I;16B", "I")
MODES = (*DEEP, "1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
ORIENTATION = 0x0112
MOST_PIXELS = 178_956_970  # that PIL reads, with a warning from half of them on
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # check_size has the last word


class BrokenPicture(InvalidInput):
    """A picture that cannot be read, with its name and the reason."""


@contextmanager
def named(name: str) -> Generator[None]:
    """What goes wrong while reading a picture comes out as BrokenPicture with its name."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # decoders raise nearly anything
        raise BrokenPicture(f"{name} cannot be read ({reason_of(error)})") from error


def open_picture(file: IO[bytes] | Path) -> ImageFile.ImageFile:
    """A picture whose pixels are not read yet. Raises InvalidInput where it is of none of FORMATS."""
    try:
        return Image.open(file, formats=tuple(FORMATS))
    except Image.DecompressionBombError:
        raise InvalidInput(f"its first bytes promise more pixels than can be read ({MOST_PIXELS:,})") from None
    except UnidentifiedImageError:
        with file.open("rb") if isinstance(file, Path) else nullcontext(file) as content:
            content.seek(0)
            kind = file_kind(content.read(HEAD))
        raise InvalidInput(f"it is {f'{kind}, and ' if kind else ''}none of {', '.join(FORMATS)}") from None


def examine(file: IO[bytes] | Path, mode: str, most_pixels: int) -> tuple[tuple[int, int], list[str]]:
    """(width, height) of a picture as it is to be seen, and what has to be converted. Reads it to its end.

    Raises InvalidInput, before it is read, for one of more pixels than most_pixels: a small file can hold very many.
    """
    with open_picture(file) as image:
        _check_mode(image)
        check_size(image, most_pixels)
        width, height = image.size
        deep = image.mode in DEEP or any(";16" in str(tile[3]) for tile in image.tile)
        frames = getattr(image, "n_frames", 1)
        image.draft(image.mode, (1, 1))  # a JPEG is read to its end all the same, but at an eighth of its size
        image.load()
        _check_depth(image)
        turned = image.getexif().get(ORIENTATION, 1)
        colour = image.mode not in ("1", "L", "LA", *DEEP)
        notes = {
            "16-bit": deep,
            "CMYK": image.mode == "CMYK",
            "palette": image.mode in ("P", "PA"),
            "transparent": mode != "rgba" and _is_transparent(image),
            "without transparency": mode == "rgba" and not image.has_transparency_data,
            "turned by EXIF": turned in range(2, 9),
            "first of several frames": frames > 1,
            "colour to grayscale": colour and mode == "grayscale",
            "grayscale to colour": not colour and mode != "grayscale",
        }
        size = (height, width) if turned in range(5, 9) else (width, height)
        return size, [note for note, true in notes.items() if true]


def decode(
    file: IO[bytes] | Path, mode: str, background: str, size: tuple[int, int] | None, resampling: str
) -> np.ndarray:
    """uint8 [C, H, W]. With a size (height, width): the middle of that shape, resized to it with antialiasing."""
    with open_picture(file) as image:
        _check_mode(image)
        image.load()
        upright = _eight_bits(ImageOps.exif_transpose(image))
        shown = _opaque(upright) if mode == "rgba" else _flatten(upright, background)
        flat = shown.convert(CHANNELS[mode])
    if size is not None:
        flat = ImageOps.fit(flat, (size[1], size[0]), FILTERS[resampling])
    pixels = np.array(flat)
    if mode == "rgba":  # what colour lies under full transparency is an accident of the file
        pixels[pixels[..., 3] == 0, :3] = ImageColor.getrgb(background)[:3]
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def check_size(image: Image.Image, most_pixels: int) -> None:
    """Raise InvalidInput for a picture of more pixels, none of which was read."""
    width, height = image.size
    if width * height > most_pixels:
        raise InvalidInput(
            f"it has {width:,} x {height:,} pixels, and at most {most_pixels:,} are read: make it smaller, or set "
            "most_pixels"
        )


def _check_mode(image: Image.Image) -> None:
    if image.mode not in MODES:
        raise InvalidInput(f"pixels of the kind {image.mode!r} are not supported")


def _check_depth(image: Image.Image) -> None:
    """Raise InvalidInput for values of whole numbers that are beyond 16 bits."""
    if image.mode != "I":  # the others have no room for them
        return
    least, most = cast(tuple[int, int], image.getextrema())  # of one band
    if least < 0 or most > 65535:
        raise InvalidInput(f"its values reach from {least} to {most}, beyond 16 bits")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits over 257, so that 65535 is 255. (Of 16-bit colour, PIL hands over the upper eight bits.)"""
    if image.mode not in DEEP:
        return image
    _check_depth(image)
    deep = np.asarray(image).astype(np.int64)
    shallow = Image.fromarray(np.rint(deep / 257).astype(np.uint8))
    if (clear := image.info.get("transparency")) is not None:
        shallow.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    return shallow


def _flatten(image: Image.Image, background: str) -> Image.Image:
    """Without transparency: composited on the background colour."""
    if not image.has_transparency_data:
        return image
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, background), layer).convert("RGB")


def _opaque(image: Image.Image) -> Image.Image:
    """As it is if it has transparency, else in RGB, from which every kind of pixels gets an alpha of 255."""
    return image if image.has_transparency_data else image.convert("RGB")


def _is_transparent(image: Image.Image) -> bool:
    if not image.has_transparency_data:
        return False
    if image.mode in DEEP:
        return True
    least, _ = cast(tuple[int, int], image.convert("RGBA").getchannel("A").getextrema())  # of one band
    return least < 255
