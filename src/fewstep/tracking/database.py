"""The file of MLflow's SQLite database, made aside and moved to its place: it is there whole or not at all.

MLflow makes a new database in seconds and not in one transaction. A process that ends meanwhile, or a second one that
begins, would leave a file that no command can use.
"""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from fewstep.support.errors import InvalidInput

PATIENCE = 300.0  # seconds for another process that makes the database
STILL = 10.0  # seconds without a change, after which nobody is making it any more
ALWAYS = {"alembic_version", "workspaces"}  # tables with rows in a database that holds nothing
BESIDE = ("-journal", "-wal", "-shm")  # SQLite's own files of a database


def ensure_database(file: Path) -> None:
    """Make the database where there is none, or what is there was never finished and holds nothing.

    Raises InvalidInput for an unfinished one that holds something, sqlite3.Error where the file is no database, or is
    locked.
    """
    if _is_whole(file):
        return
    from filelock import FileLock

    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{file}.making", timeout=PATIENCE):
        _wait_until_still(file)
        if _is_whole(file):
            return
        if _filled_tables(file) - ALWAYS:
            raise InvalidInput(
                f"{file} is a database that MLflow did not finish, and something is in it: move it away, run the same "
                "command again, and make registered versions again with: fewstep registry sync"
            )
        _make(file)


def _make(file: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    from fewstep.support.files import sync_file

    new = file.with_name(f"{file.name}.new")
    _remove(new)
    SqlAlchemyStore(f"sqlite:///{new}", str(file.parent / "mlruns")).engine.dispose()
    sync_file(new)
    for ending in BESIDE:  # a journal of the file that was there would be played back into the new one
        Path(f"{file}{ending}").unlink(missing_ok=True)
    os.replace(new, file)


def _remove(file: Path) -> None:
    for ending in ("", *BESIDE):
        Path(f"{file}{ending}").unlink(missing_ok=True)


def _wait_until_still(file: Path) -> None:
    """Until nobody else, such as `mlflow ui`, is making the database."""
    while file.exists() and time.time() - max(map(_changed, ("", *BESIDE), [file] * 4)) < STILL:
        with contextlib.suppress(sqlite3.OperationalError):  # locked: it is being made
            if _is_whole(file):
                return
        time.sleep(0.5)


def _changed(ending: str, file: Path) -> float:
    try:
        return Path(f"{file}{ending}").stat().st_mtime
    except OSError:
        return 0.0


def _is_whole(file: Path) -> bool:
    """Whether it has an experiment: MLflow makes its first one last."""
    return "experiments" in _filled_tables(file)


def _filled_tables(file: Path) -> set[str]:
    """The tables that have rows; none where there is no file."""
    if not file.exists():
        return set()
    with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?mode=rw", uri=True, timeout=5)) as database:
        names = [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name for name in names if database.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone()}
