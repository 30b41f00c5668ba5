"""Claims: one makes a thing alone, several use it together, and who was killed holds nothing."""

import os
import subprocess
import sys

import pytest

from fewstep.support.claims import claimed
from fewstep.support.errors import StorageError

HOLDER = """
import sys
from pathlib import Path
from fewstep.support.claims import claimed
with claimed(Path(sys.argv[1]), "data/images", alone=sys.argv[2] == "alone"):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the claim, "alone" or "beside" others, until it is killed."""
    begun = []

    def start(how):
        words = [sys.executable, "-c", HOLDER, str(tmp_path / "locks" / "images"), how]
        begun.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout.readline() == "held\n"
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(("theirs", "ours"), [("alone", True), ("alone", False), ("beside", True)])
def test_what_another_makes_or_uses_is_refused_in_words(tmp_path, holder, theirs, ours, capsys):
    other = holder(theirs)
    does = "making" if theirs == "alone" else "using"
    words = rf"process {other.pid} on .* is {does} data/images, which is to be {'made' if ours else 'used'} here: wait"
    with (
        pytest.raises(ValueError, match=words),
        claimed(tmp_path / "locks" / "images", "data/images", ours, patience=0.3),
    ):
        pass
    assert f"waiting: process {other.pid}" in capsys.readouterr().out
    other.kill()
    other.wait()
    with claimed(tmp_path / "locks" / "images", "data/images", ours, patience=5):
        assert f"process {os.getpid()}" in (tmp_path / "locks" / "images").read_text()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "runs").write_text("a file")
    lock, words = tmp_path / "runs" / "test" / "locks" / "images", r"runs/test/locks cannot be written: Not a directory"
    with pytest.raises(StorageError, match=words), claimed(lock, "data/images", alone=True):
        pass


def test_several_use_a_thing_together(tmp_path, holder):
    holder("beside")
    with claimed(tmp_path / "locks" / "images", "data/images", alone=False, patience=0):
        pass


def test_who_waits_goes_on_when_the_other_has_ended(tmp_path, holder):
    other = holder("alone")
    other.stdin.write("\n")
    other.stdin.flush()
    with claimed(tmp_path / "locks" / "images", "data/images", alone=True, patience=20):
        pass
