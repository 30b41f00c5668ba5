"""MLflow's database file: whole or not there, whoever is killed and however many begin at once."""

import os
import random
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fewstep.tracking import Backend

CLIENT = (
    "import sys; from fewstep.tracking import Backend; print(Backend.at(sys.argv[1]).client().search_experiments())"
)
MLFLOW = """
import sys
from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
SqlAlchemyStore(f"sqlite:///{sys.argv[1]}/mlflow.db", "mlruns")
"""


def begin(code: str, folder: Path) -> subprocess.Popen:
    """A process that makes the database of a folder."""
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )


def kill_while_it_makes(process: subprocess.Popen, file: Path, seconds: float) -> None:
    """Kill a process some time after it began to write a file."""
    until = time.monotonic() + 120
    while not file.exists():
        assert process.poll() is None and time.monotonic() < until
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.communicate()


def experiments(folder: Path) -> list[str]:
    return [each.name for each in Backend(f"sqlite:///{folder}/mlflow.db").client().search_experiments()]


@pytest.mark.parametrize(
    "moment", [pytest.param(0.4, marks=pytest.mark.slow), *[pytest.param(None, marks=pytest.mark.check)] * 6]
)
def test_a_first_command_that_is_killed_costs_nothing(tmp_path, moment):
    moment = random.SystemRandom().uniform(0, 8) if moment is None else moment
    print(f"killed after {moment:.2f} s")
    kill_while_it_makes(begin(CLIENT, tmp_path), tmp_path / "mlflow.db.new", moment)
    assert experiments(tmp_path) == ["Default"]
    assert {path.name for path in tmp_path.iterdir()} <= {"mlflow.db", "mlflow.db.making"}


@pytest.mark.slow
def test_two_first_commands_at_once_have_one_database(tmp_path):
    both = [begin(CLIENT, tmp_path) for _ in range(2)]
    said = [process.communicate(timeout=240)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0] and all("name='Default'" in each for each in said)
    assert experiments(tmp_path) == ["Default"]


@pytest.mark.slow
def test_what_mlflow_itself_did_not_finish_is_made_anew(tmp_path):
    kill_while_it_makes(begin(MLFLOW, tmp_path), tmp_path / "mlflow.db", 1.0)
    assert "experiments" in tables(tmp_path / "mlflow.db")
    assert experiments(tmp_path) == ["Default"]


def tables(file: Path) -> list[str]:
    with sqlite3.connect(file) as database:
        return [name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]


def test_an_unfinished_database_that_holds_something_is_left_alone(tmp_path):
    file = tmp_path / "mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE experiments (name)")
        database.execute("CREATE TABLE runs (name)")
        database.execute("INSERT INTO runs VALUES ('dear')")
    os.utime(file, (0, 0))
    with pytest.raises(ValueError, match="did not finish, and something is in it: move it away"):
        experiments(tmp_path)
    with sqlite3.connect(file) as database:
        assert database.execute("SELECT name FROM runs").fetchall() == [("dear",)]
