"""Folders that are replaced whole or not at all."""

import pytest

from fewstep.support.files import copy_folder, move_folder, replaced_folder, restore_replaced


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
