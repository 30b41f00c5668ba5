"""What a process is making, or using: nobody else makes it meanwhile.

The system frees a claim when the process ends, however it ends.
"""

import errno
import fcntl
import os
import shlex
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fewstep.support.errors import InvalidInput, StorageError

TAKEN = (errno.EAGAIN, errno.EACCES)


@contextmanager
def claimed(lock: Path, what: str, alone: bool, patience: float = 30.0) -> Generator[None]:
    """Hold a claim on what a lock file stands for: alone, to make it, or beside others, to use it.

    what: its name, for people. patience: seconds to wait for others. Raises InvalidInput that names who holds it then,
    StorageError where the lock file cannot be written.
    """
    held = _open(lock)
    try:
        _wait(held, lock, what, alone, patience)
        os.ftruncate(held, 0)
        os.pwrite(held, _who(alone).encode(), 0)
        yield
    finally:
        os.close(held)


def _open(lock: Path) -> int:
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"{lock.parent} cannot be written: {error.strerror}.", error.errno) from error


def _wait(held: int, lock: Path, what: str, alone: bool, patience: float) -> None:
    until, told = time.monotonic() + patience, False
    while not _try(held, alone):
        other = lock.read_text() or "another process is using"
        if time.monotonic() > until:
            verb = "made" if alone else "used"
            raise InvalidInput(
                f"{other} {what}, which is to be {verb} here: wait until it ends, or end it, and run the same command "
                "again."
            )
        if not told:
            print(f"waiting: {other} {what}", flush=True)
        told = True
        time.sleep(0.1)


def _try(held: int, alone: bool) -> bool:
    try:
        fcntl.flock(held, (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in TAKEN  # a file system that knows no locks keeps nobody out
    return True


def _who(alone: bool) -> str:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
    since = time.strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"process {os.getpid()} on {os.uname().nodename} ({command}, since {since}) is {'making' if alone else 'using'}"
    )
