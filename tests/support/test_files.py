"""Folders and files that are replaced whole or not at all, by one process or by two at once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from fewstep.support.errors import InvalidInput, StorageError
from fewstep.support.files import (
    copy_folder,
    home_path,
    move_folder,
    replaced_file,
    replaced_folder,
    restore_replaced,
    write_json,
    write_text,
)


@pytest.fixture
def folder(tmp_path):
    """One of a kind that is known by its file "mark"."""

    def make(name, content):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mark").write_text(content)
        return tmp_path / name

    return make


def content(folder) -> dict[str, str]:
    return {file.name: file.read_text() for file in folder.iterdir()}


@pytest.mark.parametrize("write", [move_folder, copy_folder])
def test_a_folder_takes_the_place_of_an_older_one(write, folder, tmp_path):
    source, target = folder("source", "new"), folder("target", "old")
    (target / "more").write_text("goes")
    write(source, target, "mark")
    assert content(target) == {"mark": "new"} and source.exists() == (write is copy_folder)
    assert {path.name for path in tmp_path.iterdir()} <= {"source", "target"}


@pytest.mark.parametrize("write", [move_folder, copy_folder])
def test_a_folder_of_other_things_is_left_alone(write, folder, tmp_path):
    source = folder("source", "new")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "mine.txt").write_text("dear")
    with pytest.raises(ValueError, match="not empty and holds no mark"):
        write(source, tmp_path / "target", "mark")
    assert content(tmp_path / "target") == {"mine.txt": "dear"} and content(source) == {"mark": "new"}


def test_a_copy_that_fails_leaves_the_older_one(folder, tmp_path, monkeypatch):
    source, target = folder("source", "new"), folder("target", "old")

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("shutil.copytree", interrupted)
    with pytest.raises(KeyboardInterrupt):
        copy_folder(source, target, "mark")
    assert content(target) == {"mark": "old"} and {path.name for path in tmp_path.iterdir()} == {"source", "target"}


def test_what_a_kill_between_the_two_renames_left_is_put_back(folder, tmp_path):
    folder(".target.older", "old")
    restore_replaced(tmp_path / "target")
    assert content(tmp_path / "target") == {"mark": "old"}
    restore_replaced(tmp_path / "target")
    folder(".target.older", "older still")  # of a kill after them: the new one is there already
    restore_replaced(tmp_path / "target")
    assert content(tmp_path / "target") == {"mark": "old"}


def test_a_replacement_after_such_a_kill_keeps_the_older_one_until_it_is_whole(folder, tmp_path):
    folder(".target.older", "old")
    with pytest.raises(RuntimeError), replaced_folder(tmp_path / "target", "mark", 0):
        raise RuntimeError
    assert content(tmp_path / "target") == {"mark": "old"}


WRITER = """
import sys, time
from pathlib import Path
from fewstep.support.files import replaced_file, replaced_folder
target = Path(sys.argv[1])
with replaced_folder(target, "mark", 0) if sys.argv[2] == "folder" else replaced_file(target) as partial:
    file = partial / "mark" if partial.is_dir() else partial
    file.write_text("theirs")
    print("writing", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def writer(tmp_path):
    """Starts another process that writes tmp_path/target as a "folder" or a "file", and ends when it is sent a line."""
    begun = []

    def start(kind):
        words = [sys.executable, "-c", WRITER, str(tmp_path / "target"), kind]
        begun.append(subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
        assert begun[-1].stdout.readline() == "writing\n"
        return begun[-1]

    yield start
    for process in begun:
        process.kill()
        process.communicate()


def write_here(tmp_path, kind):
    target = tmp_path / "target"
    with replaced_folder(target, "mark", 0) if kind == "folder" else replaced_file(target) as partial:
        (partial / "mark" if kind == "folder" else partial).write_text("ours")


def written(tmp_path, kind) -> str:
    return (tmp_path / "target" / "mark" if kind == "folder" else tmp_path / "target").read_text()


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_two_processes_that_write_the_same_do_not_disturb_each_other(tmp_path, writer, kind):
    other = writer(kind)
    write_here(tmp_path, kind)
    assert written(tmp_path, kind) == "ours"
    other.communicate("go on\n")
    assert other.returncode == 0 and written(tmp_path, kind) == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_a_killed_process_was_writing_is_removed_by_the_next(tmp_path, writer, kind):
    other = writer(kind)
    other.kill()
    other.wait()
    assert len(list(tmp_path.glob(".target.*.partial*"))) == 1
    write_here(tmp_path, kind)
    assert written(tmp_path, kind) == "ours" and [path.name for path in tmp_path.iterdir()] == ["target"]


def test_a_file_on_a_full_disk_stays_as_it_was(small_disk):
    file = small_disk(2**16) / "scores.json"
    write_json(file, {"fid": 1.0})
    with pytest.raises(StorageError, match=r"not enough disk space for .*scores.json: the disk is full"):
        write_json(file, {"rows": ["x" * 100] * 10_000})
    assert json.loads(file.read_text()) == {"fid": 1.0} and list(file.parent.iterdir()) == [file]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StorageError, match=r"taken/deeper/scores.json cannot be written: Not a directory"):
        write_json(tmp_path / "taken" / "deeper" / "scores.json", {})
    with pytest.raises(StorageError, match=r"cannot be written: File name too long"):
        write_json(tmp_path / ("x" * 300), {})


def test_what_is_no_file_is_written_as_it_is():
    null = Path("/dev/null")
    write_text(null, "nothing")
    assert null.is_char_device()


def test_a_file_that_fails_leaves_the_older_one(tmp_path):
    write_text(tmp_path / "page.html", "old")
    with pytest.raises(KeyboardInterrupt), replaced_file(tmp_path / "page.html") as partial:
        partial.write_text("half of")
        raise KeyboardInterrupt
    assert content(tmp_path) == {"page.html": "old"}


def test_the_home_folder_of_nobody_is_said():
    assert home_path("~/x") == Path.home() / "x" and home_path("a/~b") == Path("a/~b")
    with pytest.raises(InvalidInput, match="there is no user 'nosuchuser' of that home folder, got '~nosuchuser/x'"):
        home_path("~nosuchuser/x")


def test_every_path_that_a_person_gives_is_read_so():
    source = Path(__file__).parents[2] / "src"
    assert [file.name for file in source.rglob("*.py") if "expanduser()" in file.read_text()] == ["files.py"]
