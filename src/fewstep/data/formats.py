"""The formats of pictures that are read, wherever they come from."""

import io
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

# Of what Pillow opens, the formats without surprises: EPS starts a program, PSD and ICO hold several pictures.
FORMATS = {
    "PNG": (".png", ".apng"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "WEBP": (".webp",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "TIFF": (".tif", ".tiff"),
    "AVIF": (".avif",),
}
SUFFIXES = tuple(suffix for suffixes in FORMATS.values() for suffix in suffixes)
WORDS = "PNG, JPEG, WebP, BMP, GIF, TIFF, AVIF"
NOT_READ = (".heic", ".heif", ".jp2", ".jxl", ".svg", ".psd", ".ppm", ".pgm", ".tga", ".ico", ".exr", ".dng", ".dcm")


def suffix_of(name: str) -> str:
    """The end of a path's last part, in lower case: ".png", or "" where it has none."""
    last = name.rpartition("/")[2]
    stem, dot, end = last.rpartition(".")
    return f".{end.lower()}" if dot and stem else ""


def picture_file(pixels: "Image.Image") -> IO[bytes]:
    """A file of the picture with these pixels: how pixels without a format are read like all others."""
    file = io.BytesIO()
    pixels.save(file, "PNG", compress_level=0)
    file.seek(0)
    return file
