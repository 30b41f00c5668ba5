"""A run folder has one training at a time, and a dead one holds nothing."""

import subprocess
import sys

import pytest

from fewstep.training.lock import clear, sole_training

HOLDER = """
import sys, time
from pathlib import Path
from fewstep.training.lock import sole_training
with sole_training(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_held_folder_is_refused_by_the_holders_name_and_free_when_it_is_killed(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    refused = pytest.raises(ValueError, match=f"process {holder.pid} on .* is training in {tmp_path}: wait")
    with refused, sole_training(tmp_path, patience=0.3):
        pass
    holder.kill()
    with sole_training(tmp_path, patience=5):
        assert (tmp_path / "lock.holder").exists()
    assert not (tmp_path / "lock.holder").exists()


def test_a_folder_that_a_training_holds_is_not_cleared(tmp_path):
    (tmp_path / "checkpoints" / "step_1").mkdir(parents=True)
    (tmp_path / "progress.jsonl").write_text("{}\n")
    with sole_training(tmp_path), pytest.raises(ValueError, match="is training in"):
        clear(tmp_path, patience=0.3)
    assert (tmp_path / "checkpoints" / "step_1").is_dir()
    clear(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} <= {"lock"}
