"""Files below a place, a folder or an archive, which are all read in the same way."""

import lzma
import os
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tokenize import TokenError
from typing import IO

from fewstep.data.formats import NOT_READ, SUFFIXES, suffix_of
from fewstep.data.source import Found
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.file_kinds import HEAD, file_kind
from fewstep.support.names import printable

JUNK = ("__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin")
UNPACKING = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
NUMPY = (TokenError, SyntaxError, OverflowError)  # of the header of an array, which is a text in Python
DAMAGED = (*UNPACKING, *NUMPY, OSError, ValueError, RuntimeError)


@dataclass(frozen=True)
class FileTree:
    """Files by their paths below `place`, with "/" between the parts.

    place: what messages call it. files: in the order of the place. folders: all of them, also those without files.
    open_file: opens a file of a path; threads may do so at once. left_out: what is there and is no file to read.
    on_disk: the folder, where it is one. alone: the place is the one file.
    """

    place: str
    files: tuple[str, ...]
    open_file: Callable[[str], IO[bytes]]
    folders: frozenset[str] = frozenset()
    left_out: Found = field(default_factory=dict)
    on_disk: Path | None = None
    alone: bool = False

    def name(self, file: str) -> str:
        """What a file is called in messages: its whole path."""
        return printable(self.place if self.alone else f"{self.place}/{file}")

    def pictures(self) -> list[str]:
        """Those that end like pictures, sorted by the parts of their paths."""
        return in_order(file for file in self.files if suffix_of(file) in SUFFIXES)

    def top_folders(self) -> list[str]:
        """Folders directly in the place, sorted."""
        return sorted(folder for folder in self.folders if "/" not in folder)

    def below(self, folder: str) -> "FileTree":
        """The tree of one of its folders."""
        start = f"{folder}/"

        def inside(names: Iterable[str]) -> Iterator[str]:
            return (name.removeprefix(start) for name in names if name.startswith(start))

        return FileTree(
            self.name(folder),
            tuple(inside(self.files)),
            lambda file: self.open_file(start + file),
            frozenset(inside(self.folders)),
            self.left_out,
            self.on_disk and self.on_disk / folder,
        )

    def read(self, file: str) -> bytes:
        """All of a file. Raises ValueError with its name where it is damaged."""
        try:
            with self.open_file(file) as opened:
                return opened.read()
        except DAMAGED as error:
            raise unreadable(self.name(file), lambda: self.open_file(file), error) from error

    def rest(self, used: Collection[str]) -> Found:
        """What is left out where `used` are read: {kind: (how many, the first)}."""
        used, found = set(used), dict(self.left_out)
        for file in self.files:
            if file not in used:
                add_left_out(found, _kind_of_rest(suffix_of(file)), self.name(file))
        return found


def unreadable(name: str, opener: Callable[[], IO[bytes]], error: Exception, usual: str | None = None) -> InvalidInput:
    """The error of a file that is not what it should be: what it is instead, or else the reason. usual: its kind."""
    try:
        with opener() as opened:
            kind = file_kind(opened.read(HEAD))
    except DAMAGED:
        kind = None
    return InvalidInput(f"{name} cannot be read: {f'it is {kind}' if kind and kind != usual else reason_of(error)}.")


def in_order(files: Iterable[str]) -> list[str]:
    """Paths sorted part by part, so that the files of a folder stand together."""
    return sorted(files, key=lambda file: file.split("/"))


def add_left_out(found: Found, kind: str, name: str) -> None:
    """Count one more of a kind."""
    count, first = found.get(kind, (0, name))
    found[kind] = (count + 1, first)


def is_junk(part: str) -> bool:
    """Whether systems leave files of this name beside those of people: .DS_Store, ._0.png, Thumbs.db."""
    return part.startswith(".") or part.lower() in JUNK


def folder_tree(root: Path) -> FileTree:
    """What a folder holds at any depth; links are followed, since whoever made them can read where they lead."""
    files, folders, left_out = list[str](), set[str](), Found()

    def walk(folder: Path, inside: str, above: frozenset[str]) -> None:
        here = os.path.realpath(folder)
        if here in above:
            return add_left_out(left_out, "links to a folder above", str(folder))
        if inside:
            folders.add(inside)
        for entry in _entries(folder):
            path = f"{inside}/{entry.name}" if inside else entry.name
            if is_junk(entry.name):
                add_left_out(left_out, "hidden files and those of the system", entry.path)
            elif entry.is_dir():
                walk(Path(entry.path), path, above | {here})
            elif entry.is_file() or entry.is_symlink():  # a broken link is a picture that cannot be read
                files.append(path)
            else:
                add_left_out(left_out, "pipes and devices", entry.path)

    walk(root, "", frozenset())
    return FileTree(
        str(root), tuple(in_order(files)), lambda file: open(root / file, "rb"), frozenset(folders), left_out, root
    )


def single_file(path: Path) -> FileTree:
    """A tree of one file."""
    return FileTree(str(path), (path.name,), lambda _: open(path, "rb"), alone=True)


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise InvalidInput(f"The folder {folder} cannot be read ({error.strerror}).") from error


def _kind_of_rest(suffix: str) -> str:
    if suffix in SUFFIXES:
        return "pictures that belong to no row"
    if suffix in NOT_READ:
        return f"pictures of a format that is not read ({suffix})"
    known = suffix[1:].isalpha() and len(suffix) <= 8
    return f"files that are no pictures ({suffix if known else 'without a suffix'})"
