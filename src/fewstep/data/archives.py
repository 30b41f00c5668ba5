"""zip and tar archives, read in place: nothing is unpacked to where a member's path says.

A path is a key and no place on the disk, links are not followed, and what unpacks to far more than it is, is refused.
"""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

from fewstep.data.file_tree import DAMAGED, FileTree, add_left_out, folder_tree, is_junk, single_file
from fewstep.data.source import Found
from fewstep.support.errors import InvalidInput, StorageError, reason_of
from fewstep.support.file_kinds import GZIP, HEAD, ZIP, kind_of_file
from fewstep.support.files import OUT_OF_SPACE
from fewstep.support.names import nearest, printable

RATIO, ALWAYS = 200, 2**26  # an archive may unpack to so many times its size, and to so many bytes in any case
MANY = 1000  # names that are looked through for one that is like another
IN_MEMORY = 2**26  # a member up to this size is read at once, a larger one bit by bit
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
PACKED: dict[bytes, Callable[[Path], io.BufferedIOBase]] = {
    b"\x1f\x8b": gzip.GzipFile,
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ": lzma.LZMAFile,
}


def open_tree(path: Path) -> FileTree:
    """The files of a folder, a zip, a tar (.tar.gz, .tar.bz2, .tar.xz too), or the one file. Raises ValueError."""
    if _is_folder(path):
        return folder_tree(path)
    head = _head(path)
    if path.suffix == ".npz":
        return single_file(path)
    if head.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return zip_tree(path)
    if head[257:262] == b"ustar" or ".tar" in path.suffixes or path.suffix in (".tgz", ".tbz2", ".txz"):
        return tar_tree(path)
    if path.suffix == ".zip":
        raise _unreadable(path, "zip")
    return single_file(path)


def _is_folder(path: Path) -> bool:
    """Whether a path is a folder, and no file. Raises ValueError where there is neither."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        mode = 0
    except OSError as error:
        raise InvalidInput(f"{printable(str(path))} cannot be read: {reason_of(error)}.") from error
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return stat.S_ISDIR(mode)
    if mode:
        raise InvalidInput(f"{path} is neither a folder nor a file.")
    hint = ""
    if any(sign in path.name for sign in "*?{"):
        hint = " Patterns are not read here: give the folder that holds the files."
    elif path.parent.is_dir() and (near := nearest(path.name, islice(os.listdir(path.parent), MANY))):
        hint = f" Did you mean {printable(str(path.parent / near))}?"
    raise InvalidInput(f"There is no folder or file {printable(str(path))}.{hint}")


def zip_tree(path: Path) -> FileTree:
    """The members of a zip."""
    try:
        archive = zipfile.ZipFile(path)
    except DAMAGED as error:
        raise _unreadable(path, "zip", error) from error
    read = [info for info in archive.infolist() if not _why_not_in_zip(info)]  # no link stands in another's place
    infos = {info.filename.replace("\\", "/"): info for info in read}
    members = [(info.filename.replace("\\", "/"), info.is_dir(), _why_not_in_zip(info)) for info in archive.infolist()]
    kept, folders, left_out = _members(path, members)
    for name in kept.values():
        if infos[name].flag_bits & 1:
            raise InvalidInput(f"{path} is encrypted ({name}). Unpack it with its password, and give the folder.")
        if infos[name].compress_type not in COMPRESSIONS:
            raise InvalidInput(f"{path} is compressed in a way that is not read ({name}). Unpack it: give the folder.")
    _check_size(path, sum(infos[name].file_size for name in kept.values()))

    def open_file(file: str) -> IO[bytes]:
        info = infos[kept[file]]
        member = archive.open(info)
        return member if info.file_size > IN_MEMORY else io.BytesIO(member.read())

    return FileTree(str(path), tuple(kept), open_file, folders, left_out)


def tar_tree(path: Path) -> FileTree:
    """The members of a tar, which is unpacked as a whole to a temporary file without a name where it is compressed."""
    unpacked = next(
        (_unpacked(path, opener) for start, opener in PACKED.items() if _head(path).startswith(start)), None
    )
    places, members = dict[str, tuple[int, int]](), list[tuple[str, bool, str | None]]()
    try:
        with unpacked or open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                reason = _why_not_in_tar(info)
                members.append((info.name, info.isdir(), reason))
                if not (reason or info.isdir()):  # no link stands in the place of a file of its name
                    places[info.name] = info.offset_data, info.size
                cast(Any, archive).members = []  # which would keep all of them
            content = io.FileIO(os.dup(file.fileno())) if unpacked else None
    except (tarfile.TarError, *DAMAGED) as error:
        raise _unreadable(path, "tar", error) from error
    kept, folders, left_out = _members(path, members)

    def open_file(name: str) -> IO[bytes]:
        start, size = places[kept[name]]
        part = _Part(path if content is None else content, start, size)
        if size > IN_MEMORY:
            return io.BufferedReader(part)
        with part:
            return io.BytesIO(part.readall())

    return FileTree(str(path), tuple(kept), open_file, folders, left_out)


class _Part(io.RawIOBase):
    """Bytes of a file from `start` on, read by place: threads may read others of the same file meanwhile."""

    def __init__(self, file: io.FileIO | Path, start: int, size: int):
        """file: one that is open and stays so, or a path, of a file that is open as long as this is."""
        self._own = io.FileIO(file) if isinstance(file, Path) else None
        self._number = (self._own or cast(io.FileIO, file)).fileno()
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence])
        return self._at

    def readinto(self, buffer: Any, /) -> int:
        wanted = min(len(buffer), max(0, self._size - self._at))
        found = os.pread(self._number, wanted, self._start + self._at)
        if wanted and not found:
            raise InvalidInput("the archive ends before it does")
        buffer[: len(found)] = found
        self._at += len(found)
        return len(found)

    def close(self) -> None:
        if self._own:
            self._own.close()
        super().close()


def _members(
    path: Path, members: Iterable[tuple[str, bool, str | None]]
) -> tuple[dict[str, str], frozenset[str], Found]:
    """({a file's path: the member's name}, all folders, what is left out) of (name, is folder, why it is not read)."""
    kept, folders, left_out = dict[str, str](), set[str](), Found()
    for name, is_folder, reason in members:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            reason = "members whose paths lead out of the archive"
        elif any(is_junk(part) for part in parts):
            reason = "hidden files and those of the system"
        if reason:
            add_left_out(left_out, reason, f"{path}/{name}")
        elif parts:
            inner = "/".join(parts)
            folders.update(map(str, list(PurePosixPath(inner).parents)[:-1]))
            if is_folder:
                folders.add(inner)
            else:
                if inner in kept:
                    add_left_out(left_out, "members that a later one of the same name replaces", f"{path}/{name}")
                kept[inner] = name
    return kept, frozenset(folders), left_out


def _why_not_in_zip(info: zipfile.ZipInfo) -> str | None:
    return "links in the archive" if stat.S_ISLNK(info.external_attr >> 16) else None


def _why_not_in_tar(info: tarfile.TarInfo) -> str | None:
    if info.issym() or info.islnk():
        return "links in the archive"
    return None if info.isdir() or (info.isreg() and not info.issparse()) else "pipes, devices and sparse files"


def _unpacked(path: Path, opener: Callable[[Path], io.BufferedIOBase]) -> IO[bytes]:
    """A temporary file of what is in a compressed one, which the system removes with the last use of it."""
    target, most = tempfile.TemporaryFile(), _most_bytes(path)  # noqa: SIM115 (it lives as long as the tree)
    try:
        with opener(path) as packed:
            while chunk := packed.read(2**20):
                target.write(chunk)
                if target.tell() > most:
                    _check_size(path, target.tell())
        target.seek(0)
    except InvalidInput:
        raise
    except DAMAGED as error:
        if isinstance(error, OSError) and error.errno in OUT_OF_SPACE:
            raise StorageError(
                f"{path} is unpacked to a temporary file in {tempfile.gettempdir()}, whose disk is full. Set TMPDIR "
                "to a folder on a larger disk, or unpack it and give the folder.",
                error.errno,
            ) from error
        raise _unreadable(path, "tar", error) from error
    return target


def _most_bytes(path: Path) -> int:
    return ALWAYS + RATIO * path.stat().st_size


def _check_size(path: Path, unpacked: int) -> None:
    if unpacked > _most_bytes(path):
        raise InvalidInput(
            f"{path} unpacks to more than {RATIO} times its size, as archives do that are made to fill a disk. If it "
            "is meant to, unpack it and give the folder."
        )


def _unreadable(path: Path, kind: str, error: Exception | None = None) -> InvalidInput:
    found = kind_of_file(path)
    why = reason_of(error) if error else "it is damaged"
    return InvalidInput(
        f"{path} cannot be read as a {kind} archive: {why if found in (None, ZIP, GZIP) else f'it is {found}'}."
    )


def _head(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read(HEAD)
    except OSError as error:
        raise InvalidInput(f"{path} cannot be read ({error.strerror}).") from error
