"""Writing a folder or a file as a whole: all of it or nothing, and the older one until then.

What is being made lies beside its place under a hidden name of its own, so that two processes can write the same thing
at once: each is whole, and the later one stays. The process holds a lock on it, which the system frees however the
process ends. So what a kill left behind is known, and the next writer removes it.
"""

import errno
import fcntl
import glob
import json
import os
import shutil
import uuid
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from fewstep.support.errors import InvalidInput, StorageError, UserError

OUT_OF_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR)
KEPT = "Nothing new was kept, and what was there before is untouched."


def home_path(path: str | Path) -> Path:
    """A path that a person gave, with the home folder for its `~`. Raises InvalidInput where no user has that name."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        name = Path(path).parts[0].removeprefix("~")
        raise InvalidInput(
            f"there is no user {name!r} of that home folder, got {str(path)!r}: write the whole path, or ./~ for a "
            "folder whose name begins with ~."
        ) from None


def write_json(file: Path, facts: Any) -> None:
    """Write the file, and its folder where there is none: there is the older file or the new one, never a part."""
    write_text(file, json.dumps(facts, indent=2) + "\n")


def write_text(file: Path, text: str) -> None:
    """Write the file, and its folder where there is none: there is the older file or the new one, never a part."""
    with replaced_file(file) as partial:
        partial.write_text(text)


def write_facts(file: Path, facts: dict[str, Any]) -> None:
    """A JSON file in a folder that is still being made, on the disk when this returns."""
    file.write_text(json.dumps(facts, indent=2) + "\n")
    sync_file(file)


def sync_file(file: Path) -> None:
    """Wait until the file's content is on the disk."""
    with file.open("rb") as opened:
        os.fsync(opened.fileno())


@contextmanager
def naming_full_disk(what: str, place: Path) -> Generator[None]:
    """Says of an error that the disk is full, whichever library raised it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = _out_of_space_number(error)
        if number is None:
            raise
        raise StorageError(
            f"the disk is full: {what} was not written to {place}. The last checkpoint is whole: make room and run the "
            "same command again.",
            number,
        ) from error


@contextmanager
def replaced_file(file: Path) -> Generator[Path]:
    """An empty file beside `file`, which takes its place when the block ends, and is removed if it fails.

    It ends as `file` does, so that libraries know the format. What is no file, such as /dev/stdout, is written as it
    is. Raises StorageError where it cannot be written.
    """
    with _naming_refusal(file, 0):
        if file.exists() and not file.is_file():
            yield file
            return
        with _own_place(file, Path.touch) as partial:
            yield partial
            sync_file(partial)
            os.replace(partial, file)


@contextmanager
def replaced_with_company(file: Path, needed_bytes: int = 0) -> Generator[Path]:
    """A place for a file of this name in an empty folder beside it, whose files take their places when the block ends.

    For libraries that write several files, or keep the name in them. The file itself is moved last; nothing is moved
    if the block fails. Raises StorageError as replaced_folder does.
    """
    with _naming_refusal(file, needed_bytes), _own_place(file, Path.mkdir) as partial:
        _check_room(file, needed_bytes)
        yield partial / file.name
        for made in sorted(partial.iterdir(), key=lambda made: made.name == file.name):
            sync_file(made)
            os.replace(made, file.with_name(made.name))


@contextmanager
def replaced_folder(folder: Path, marker: str | None, needed_bytes: int) -> Generator[Path]:
    """An empty folder beside `folder` that takes its place when the block ends, and is removed if it fails.

    marker: the file by which an older folder of this kind is known; None: any is replaced. Raises ValueError where
    `folder` holds something else, and StorageError with the folder and the bytes needed, before the block where they
    can be seen missing.
    """
    folder = folder.resolve()
    check_replaceable(folder, marker)
    restore_replaced(folder)
    with _naming_refusal(folder, needed_bytes), _own_place(folder, Path.mkdir) as partial:
        _check_room(folder, needed_bytes)
        yield partial
        _swap(folder, partial)


def move_folder(source: Path, target: Path, marker: str) -> None:
    """Move a folder to another place, whole or not at all, where it replaces an older one as in replaced_folder."""
    target = target.resolve()
    check_replaceable(target, marker)
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.stat().st_dev == target.parent.stat().st_dev:
        restore_replaced(target)
        _swap(target, source)
    else:
        copy_folder(source, target, marker)
        shutil.rmtree(source)


def copy_folder(source: Path, target: Path, marker: str) -> None:
    """Copy a folder to another place, whole or not at all, where it replaces an older one as in replaced_folder."""
    size = sum(file.stat().st_size for file in source.rglob("*") if file.is_file())
    with replaced_folder(target, marker, size) as partial:
        shutil.copytree(source, partial, dirs_exist_ok=True)


def check_replaceable(folder: Path, marker: str | None) -> None:
    """Raise ValueError where a folder is not empty and not of the kind that is known by the marker."""
    if marker and folder.exists() and not (folder / marker).exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InvalidInput(f"{folder} is not empty and holds no {marker}, so it is left alone. Name another folder.")


def restore_replaced(folder: Path) -> None:
    """Put the older folder back where a kill fell between the two renames of its replacement."""
    folder = Path(os.path.abspath(folder))
    if folder.name and _older(folder).exists() and not folder.exists():
        with _alone_in(folder.parent):  # which waits for a replacement that is being made
            if _older(folder).exists() and not folder.exists():
                _older(folder).rename(folder)


def _older(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.older")


def _swap(folder: Path, partial: Path) -> None:
    """Put a new folder in the place of an older one."""
    older = _older(folder)
    with _alone_in(folder.parent):
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


@contextmanager
def _own_place(target: Path, make: Callable[[Path], None]) -> Generator[Path]:
    """A new hidden file or folder beside the target, gone when the block ends; what dead processes left goes before."""
    target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{glob.escape(target.name)}.*.partial*"):
        remove_if_dead(left)
    partial, held = _make_locked(target, make)
    try:
        yield partial
    finally:
        os.close(held)
        _remove(partial)


def _make_locked(target: Path, make: Callable[[Path], None]) -> tuple[Path, int]:
    """What was made, and the descriptor that holds it. It is made again where another process takes it for dead."""
    while True:
        partial = target.with_name(f".{target.name}.{uuid.uuid4().hex[:12]}.partial{target.suffix}")
        make(partial)
        with suppress(FileNotFoundError):
            held = os.open(partial, os.O_RDONLY)
            _try_lock(held)
            if partial.exists():
                return partial, held
            os.close(held)


def remove_if_dead(left: Path) -> None:
    """Remove what a process was making, if that process has ended."""
    with suppress(OSError):
        held = os.open(left, os.O_RDONLY)
        try:
            if _try_lock(held):
                _remove(left)
        finally:
            os.close(held)


def _try_lock(descriptor: int) -> bool:
    """Whether nobody else holds it. Where a file system knows no such locks, nothing is taken for dead."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _alone_in(folder: Path) -> Generator[None]:
    """Nobody else replaces what is in a folder meanwhile."""
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # of a file system without locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _remove(place: Path) -> None:
    if place.is_dir():
        shutil.rmtree(place, ignore_errors=True)
    else:
        place.unlink(missing_ok=True)


@contextmanager
def _naming_refusal(place: Path, needed_bytes: int) -> Generator[None]:
    """What the system says against writing to a place, in words."""
    try:
        yield
    except UserError:
        raise
    except (OSError, SafetensorError) as error:
        if _out_of_space_number(error):
            raise _out_of_space(place, needed_bytes) from error
        if isinstance(error, OSError) and error.errno in REFUSED and _is_beside(place, error.filename):
            raise StorageError(f"{place} cannot be written: {error.strerror}. {KEPT}", error.errno) from error
        raise


def _out_of_space_number(error: Exception) -> int | None:
    """The number in OUT_OF_SPACE of an error, whichever library raised it."""
    # safetensors raises one class for all that fails, without errno: the system's number stands only in its text.
    return next((n for n in OUT_OF_SPACE if getattr(error, "errno", None) == n or f"os error {n})" in str(error)), None)


def _is_beside(place: Path, name: object) -> bool:
    """Whether an error is about what is made beside a place, and not about what is read for it."""
    return isinstance(name, str | Path) and (
        Path(name).name.startswith(f".{place.name}.") or Path(name) in (place, *place.parents)
    )


def _check_room(place: Path, needed_bytes: int) -> None:
    if shutil.disk_usage(place.parent).free < needed_bytes:
        raise _out_of_space(place, needed_bytes)


def _out_of_space(place: Path, needed_bytes: int) -> StorageError:
    free = shutil.disk_usage(place.parent).free
    sizes = f"{needed_bytes:,} bytes are needed and {free:,} are free" if needed_bytes else "the disk is full"
    return StorageError(
        f"not enough disk space for {place}: {sizes}. {KEPT} Make room, or name a place on another disk.", errno.ENOSPC
    )
