"""What a file is that stands in the place of another, told by its first bytes."""

import string

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
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip archive",
    b"\x89HDF": "an HDF5 file",
    b"\x89PNG": "a PNG picture",
    b"\xff\xd8\xff": "a JPEG picture",
    b"PAR1": "a Parquet file",
    b"\x93NUMPY": "a NumPy array",
    b"ARROW1": "an Arrow file",
    b"GIF8": "a GIF picture",
    b"BM": "a BMP picture",
    b"8BPS": "a Photoshop file",
    b"\x00\x00\x00\x0cjP": "a JPEG 2000 picture",
    b"%PDF": "a PDF document",
}


def file_kind(head: bytes) -> str | None:
    """ "a web page in place of the file (...)": what a file is that begins so, as far as it is known here."""
    if not head:
        return "empty"
    if head[8:10] == b'{"':
        return "a safetensors file"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "a HEIC picture"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip(string.whitespace.encode()).lower()
    kinds = [kind for start, kind in POINTERS.items() if text.startswith(start)]
    kinds += [kind for start, kind in SIGNATURES.items() if head.startswith(start)]
    return next(iter(kinds), None)
