"""One training at a time in a run folder."""

import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from fewstep.support.errors import InvalidInput


@contextmanager
def sole_training(run_dir: Path, patience: float = 30.0) -> Generator[None]:
    """Hold the run folder. The system gives it free when the process ends, however it ends.

    patience: seconds to wait for a training that is about to end, as orphans of a killed run do. Raises ValueError that
    names the process that holds the folder.
    """
    from filelock import FileLock, Timeout

    run_dir.mkdir(parents=True, exist_ok=True)
    lock, holder = FileLock(run_dir / "lock", timeout=patience, poll_interval=0.2), run_dir / "lock.holder"
    try:
        lock.acquire()
    except Timeout:
        raise InvalidInput(
            f"{holder.read_text() if holder.exists() else 'another process'} is training in {run_dir}: "
            "wait until it ends, or end it, and run the same command again."
        ) from None
    try:
        holder.write_text(
            f"process {os.getpid()} on {os.uname().nodename}, since {time.strftime('%Y-%m-%d %H:%M:%S')},"
        )
        yield
    finally:
        holder.unlink(missing_ok=True)
        lock.release()


def clear(run_dir: Path, patience: float = 30.0) -> None:
    """Remove what a training left in its folder. Raises what sole_training does."""
    with sole_training(run_dir, patience):
        for left in run_dir.iterdir():
            if left.is_dir():
                shutil.rmtree(left)
            elif not left.name.startswith("lock"):
                left.unlink()
