"""What a file is by its first bytes, for a message about a file that is not what it should be."""

HEAD_BYTES = 512
KINDS = (
    (b"version https://git-lfs", "a git-lfs pointer and not the file itself: run `git lfs pull`"),
    (b"<!doctype html", "a web page: what was downloaded is a page about the file, or a login"),
    (b"<html", "a web page: what was downloaded is a page about the file, or a login"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "an XML file, as servers send in place of a file that they refuse"),
    (b"{", "a JSON file"),
    (b"par1", "a Parquet file"),
    (b"\x93numpy", "a NumPy array (.npy)"),
    (b"pk\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "a gzip file"),
    (b"\x89hdf", "an HDF5 file"),
    (b"arrow1", "an Arrow file"),
    (b"%pdf", "a PDF document"),
    (b"\x89png", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"gif8", "a GIF picture"),
    (b"bm", "a BMP picture"),
    (b"\x00\x00\x00\x0cjp", "a JPEG 2000 picture"),
    (b"8bps", "a Photoshop file"),
)


def kind_of(head: bytes) -> str | None:
    """What a file with these first bytes is, in words that follow "it is"; None where nobody can tell."""
    if not head:
        return "empty"
    if head[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypmsf1"):
        return "a HEIC picture"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "a WebP picture"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return next((words for first, words in KINDS if start.startswith(first)), None)
