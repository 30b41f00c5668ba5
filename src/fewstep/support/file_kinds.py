"""What a file is that stands in the place of another, told by its first bytes."""

import string
from pathlib import Path

from fewstep.support.errors import InvalidInput

PARQUET, NUMPY, GZIP = "a Parquet file", "a NumPy array", "a gzip archive"
ZIP, SAFETENSORS = "a zip archive", "a safetensors file"  # torch.save writes a zip, or what has no name here
HEAD = 512  # bytes that tell
POINTERS = {
    b"version https://git-lfs": "a Git LFS pointer in place of the file (`git lfs pull` fetches it)",
    b"/annex/objects/": "a git-annex pointer in place of the file (`git annex get` fetches it)",
    b"outs:": "a DVC pointer in place of the file (`dvc pull` fetches it)",
    b"<!doctype": "a web page in place of the file (download the file itself)",
    b"<html": "a web page in place of the file (download the file itself)",
    b"<?xml": "a page of XML in place of the file, perhaps a server's error (download the file itself)",
    b"<svg": "an SVG drawing",
    b"{": "text in JSON",
}
SIGNATURES = {
    b"PK\x03\x04": ZIP,
    b"\x1f\x8b": GZIP,
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PAR1": PARQUET,
    b"\x93NUMPY": NUMPY,
    b"ARROW1": "an Arrow file",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"8BPS": "a Photoshop file",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 picture",
    b"%PDF": "a PDF document",
    b"\x28\xb5\x2f\xfd": "a Zstandard archive (unpack it)",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive (unpack it)",
    b"Rar!": "a rar archive (unpack it)",
}


def file_kind(head: bytes) -> str | None:
    """ "a web page in place of the file (...)": what a file is that begins so, as far as it is known here."""
    if not head:
        return "empty"
    if head[8:10] == b'{"':
        return SAFETENSORS
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "a HEIC picture"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(string.whitespace.encode()).lower()
    kinds = [kind for start, kind in POINTERS.items() if text.startswith(start)]
    kinds += [kind for start, kind in SIGNATURES.items() if head.startswith(start)]
    return next(iter(kinds), None)


def kind_of_file(path: Path) -> str | None:
    """file_kind of the beginning of a file; None where it cannot be read."""
    try:
        with path.open("rb") as file:
            return file_kind(file.read(HEAD))
    except OSError:
        return None


def check_file_kind(path: Path, what: str, allowed: str) -> None:
    """Raise InvalidInput where a file begins as something else than what is allowed. what: it is to hold."""
    if (kind := kind_of_file(path)) not in (None, allowed):
        raise InvalidInput(f"{path} must hold {what}, and it is {kind}")
