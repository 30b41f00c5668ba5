"""How a training is run: who trains is said, and a signal to end it is told from a failure."""

import os
import re
import signal
import sqlite3
import time

import pytest

from fewstep.launch import LaunchSettings, check_room
from fewstep.support.errors import StorageError


@pytest.mark.parametrize(
    ("workers", "threads", "words"),
    [(0, 1, "one process of 1 thread"), (1, 2, "1 worker of 2 threads each"), (2, 1, "2 workers of 1 thread each")],
)
def test_who_trains_is_said_in_words(workers, threads, words):
    assert LaunchSettings(workers=workers, threads=threads).words() == words


def test_a_full_temporary_folder_is_said_before_ray_starts(small_disk, monkeypatch):
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    check_room()
    monkeypatch.setenv("TMPDIR", str(small_disk(2**20)))
    with pytest.raises(StorageError, match=r"keeps its files in .*disk, and 1 MB can be written there, where 64"):
        check_room()
    monkeypatch.setenv("TMPDIR", "/nowhere")
    with pytest.raises(StorageError, match=r"in /nowhere, and 0 MB can be written"):
        check_room()


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.check)])
def test_sigterm_ends_a_run_as_killed_and_the_run_says_who_trained(workers, project):
    words = (
        f"launch.workers={workers},launch.threads=1,teacher.training.images=1000000,teacher.training.progress_every=64"
    )
    run = project.start("kedro", "run", "--env=test", "--pipelines=ingest,teacher", f"--params={words}")
    until = time.monotonic() + 240
    while not project.glob("runs/test/teacher-*/progress.jsonl"):
        assert run.poll() is None and time.monotonic() < until
        time.sleep(0.1)
    os.kill(run.pid, signal.SIGTERM)
    said = run.communicate(timeout=120)[0]
    assert run.returncode in (1, 143), said
    with sqlite3.connect(project.root / "mlflow.db") as database:
        (status,) = database.execute("SELECT status FROM runs").fetchone()
        (note,) = database.execute("SELECT value FROM tags WHERE key = 'mlflow.note.content'").fetchone()
    trainer = "one process" if workers == 0 else "1 worker"
    assert status == "KILLED" and re.match(rf"teacher, on the data \w+, seed 0. Trained by {trainer} of 1 thread", note)
    assert "test: 256 images, 16 pixels high and 16 wide, 3 channels (RGB)" in said  # what ingestion found
    assert project.glob("mlartifacts/test/*/artifacts/store.json")
