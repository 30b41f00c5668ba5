"""Writing a folder or a file as a whole: all of it or nothing, and the older one until then."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fewstep.support.errors import InvalidInput, StorageError

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT)


def write_json(file: Path, facts: dict[str, Any]) -> None:
    """Write the file, and its folder where there is none: there is the older file or the new one, never a part."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    write_facts(partial, facts)
    os.replace(partial, file)


def write_facts(file: Path, facts: dict[str, Any]) -> None:
    """A JSON file in a folder that is still being made, on the disk when this returns."""
    file.write_text(json.dumps(facts, indent=2) + "\n")
    sync_file(file)


def sync_file(file: Path) -> None:
    """Wait until the file's content is on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def naming_full_disk(what: str, place: Path) -> Iterator[None]:
    """Says of an error that the disk is full, whichever library raised it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = next(
            (n for n in OUT_OF_SPACE if getattr(error, "errno", None) == n or f"os error {n})" in str(error)), None
        )
        if number is None:
            raise
        raise StorageError(
            f"the disk is full: {what} was not written to {place}. The last checkpoint is whole: make room and run the "
            "same command again.",
            number,
        ) from error


@contextmanager
def replaced_folder(folder: Path, marker: str, needed_bytes: int) -> Iterator[Path]:
    """An empty folder beside `folder` that takes its place when the block ends, and is removed if it fails.

    marker: the file by which an older folder of this kind is known. Raises ValueError where `folder` holds something
    else, and OSError (ENOSPC) with the folder and the bytes needed, before the block where they can be seen missing.
    """
    folder = folder.resolve()
    if folder.exists() and not (folder / marker).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not empty and holds no {marker}, so it is left alone. Name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    restore_replaced(folder)
    partial, older = (folder.with_name(f".{folder.name}.{state}") for state in ("partial", "older"))
    shutil.rmtree(partial, ignore_errors=True)
    if shutil.disk_usage(folder.parent).free < needed_bytes:
        raise _out_of_space(folder, needed_bytes)
    try:
        partial.mkdir()
        yield partial
        _swap(folder, partial, older)
    except OSError as error:
        if error.errno in OUT_OF_SPACE:
            raise _out_of_space(folder, needed_bytes) from error
        raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def move_folder(source: Path, target: Path, marker: str) -> None:
    """Move a folder to another place, whole or not at all, where it replaces an older one as in replaced_folder."""
    with replaced_folder(target, marker, 0) as partial:
        partial.rmdir()
        shutil.move(source, partial)


def copy_folder(source: Path, target: Path, marker: str) -> None:
    """Copy a folder to another place, whole or not at all, where it replaces an older one as in replaced_folder."""
    size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    with replaced_folder(target, marker, size) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)


def restore_replaced(folder: Path) -> None:
    """Put the older folder back where a kill fell between the two renames of its replacement."""
    older = folder.with_name(f".{folder.name}.older")
    if older.exists() and not folder.exists():
        older.rename(folder)


def _swap(folder: Path, partial: Path, older: Path) -> None:
    if folder.exists():
        shutil.rmtree(older, ignore_errors=True)
        folder.rename(older)
    try:
        partial.rename(folder)
    except OSError:
        if older.exists():
            older.rename(folder)
        raise
    shutil.rmtree(older, ignore_errors=True)


def _out_of_space(folder: Path, needed_bytes: int) -> StorageError:
    free = shutil.disk_usage(folder.parent).free
    words = (
        f"not enough disk space for {folder}: {needed_bytes:,} bytes are needed and {free:,} are free. Nothing new was "
        "kept, and what was there before is untouched. Make room, or name a folder on another disk."
    )
    return StorageError(words, errno.ENOSPC)
