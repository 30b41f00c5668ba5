import errno
import json
import re
import threading

import pytest
import torch
from safetensors.torch import save_file

from fewstep.support import tensor_files
from fewstep.support.tensor_files import hash_tensors, write_tensors
from fewstep.training import checkpoint
from fewstep.training.checkpoint import (
    FACTS,
    Checkpoints,
    checkpoints,
    load_newest,
    newest_facts,
    newest_whole,
    save_checkpoint,
)
from fewstep.training.checkpoint import TENSORS as TENSOR_FILE

TENSORS = {"a/b": torch.arange(4.0), "optimizer.student/w/step": torch.tensor(3.0)}


def test_a_checkpoint_round_trips_and_the_two_newest_are_kept(tmp_path):
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, TENSORS, {"job": {}})
    tensors, facts = load_newest(tmp_path)
    assert facts == {"step": 10, "job": {}, "sha256": hash_tensors(TENSORS)} and all(
        torch.equal(tensors[k], TENSORS[k]) for k in TENSORS
    )
    assert [p.name for p in checkpoints(tmp_path)] == ["step_000000002", "step_000000010"]


def flip(file):
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def many():
    return {str(number): row for number, row in enumerate(map(torch.tensor, range(2**15 + 1)))}


def rewrite(file, change):
    file.write_text(json.dumps(change(json.loads(file.read_text()))))


DAMAGE = {
    "tensors that are none": lambda folder: (folder / TENSOR_FILE).write_bytes(b"torn"),
    "one bit of a tensor": lambda folder: flip(folder / TENSOR_FILE),
    "other tensors": lambda folder: write_tensors(folder / TENSOR_FILE, {"a/b": torch.arange(5.0)}),
    "too many tensors": lambda folder: save_file(many(), folder / TENSOR_FILE),
    "no tensors": lambda folder: (folder / TENSOR_FILE).unlink(),
    "another step": lambda folder: rewrite(folder / FACTS, lambda facts: facts | {"step": 39}),
    "another job": lambda folder: rewrite(folder / FACTS, lambda facts: facts | {"job": {"seed": 7}}),
    "a list": lambda folder: rewrite(folder / FACTS, lambda facts: [facts]),
    "a number": lambda folder: (folder / FACTS).write_text("7"),
    "facts that are cut": lambda folder: (folder / FACTS).write_text('{"step":'),
    "facts without end": lambda folder: (folder / FACTS).write_text("[" * 100_000),
    "no facts": lambda folder: (folder / FACTS).unlink(),
    "another name": lambda folder: folder.rename(folder.with_name("step_000000007")),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_checkpoint_falls_back_to_the_one_before_and_is_named(tmp_path, caplog, damage):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {"job": {"seed": 0}})
    DAMAGE[damage](tmp_path / "step_000000002")
    tensors, facts = load_newest(tmp_path)
    assert (facts["step"], facts["job"]) == (1, {"seed": 0}) and torch.equal(tensors["a/b"], TENSORS["a/b"])
    assert newest_whole(tmp_path).name == "step_000000001"
    assert re.search(r"step_00000000[27] is damaged .*goes on from step_000000001", caplog.text)


def test_where_no_checkpoint_is_whole_it_says_so_and_what_to_do(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {})
        flip(tmp_path / f"step_00000000{step}" / TENSOR_FILE)
    with pytest.raises(ValueError, match=r"step_000000002 is damaged.*step_000000001 is damaged.*fresh=true"):
        load_newest(tmp_path)
    assert newest_whole(tmp_path) is None


def test_a_checkpoint_of_an_earlier_version_is_taken_as_it_is(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {"job": {}, "seconds": 1.0})
    rewrite(
        tmp_path / "step_000000001" / FACTS,
        lambda facts: {name: value for name, value in facts.items() if name not in ("seal", "sha256")},
    )
    assert load_newest(tmp_path)[1] == newest_facts(tmp_path) == {"step": 1, "job": {}, "seconds": 1.0}


def test_remains_of_an_interrupted_write_are_no_checkpoint_and_are_removed(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {})
    (tmp_path / ".step_000000002.99").mkdir()
    assert load_newest(tmp_path)[1]["step"] == 1
    with Checkpoints(tmp_path):
        assert [p.name for p in tmp_path.iterdir()] == ["step_000000001"]


def test_no_checkpoint_is_none(tmp_path):
    assert load_newest(tmp_path / "nothing") is None


@pytest.mark.parametrize(("module", "write"), [(tensor_files, "save_file"), (checkpoint, "write_facts")])
def test_a_full_disk_keeps_what_was_there_and_says_so(tmp_path, monkeypatch, module, write):
    save_checkpoint(tmp_path, 1, TENSORS, {})

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, write, full)
    with pytest.raises(OSError, match=r"disk is full: checkpoint of step 2.*last checkpoint is whole"):
        save_checkpoint(tmp_path, 2, TENSORS, {})
    assert [p.name for p in tmp_path.iterdir()] == ["step_000000001"]


@pytest.fixture
def slow_disk(monkeypatch):
    """An event without which no tensor reaches the disk."""
    ready = threading.Event()

    def wait_and_write(path, tensors):
        assert ready.wait(60)
        return write_tensors(path, tensors)

    monkeypatch.setattr("fewstep.training.checkpoint.write_tensors", wait_and_write)
    return ready


def test_a_training_goes_on_while_a_checkpoint_is_written_and_it_holds_what_was(tmp_path, slow_disk):
    weight = torch.zeros(3)
    with Checkpoints(tmp_path) as written:
        written.save(1, {"weight": weight}, {"job": {}})
        weight += 1  # the next step
        assert newest_whole(tmp_path) is None
        slow_disk.set()
        written.save(2, {"weight": weight}, {"job": {}})
        assert newest_facts(tmp_path)["step"] == 1, "one after the other"
    tensors, facts = load_newest(tmp_path)
    assert facts["step"] == 2 and torch.equal(tensors["weight"], torch.ones(3))
    slow_disk.clear()
    with pytest.raises(ZeroDivisionError), Checkpoints(tmp_path) as written:
        written.save(3, {"weight": weight}, {"job": {}})
        slow_disk.set()
        1 / 0  # noqa: B018
    assert newest_facts(tmp_path)["step"] == 3, "a training that fails leaves its last checkpoint whole"


def test_a_checkpoint_that_could_not_be_written_stops_the_training(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    written = Checkpoints(tmp_path / "file")
    written.save(1, TENSORS, {"job": {}})
    with pytest.raises(OSError, match="file"):
        written.save(2, TENSORS, {"job": {}})
    with pytest.raises(ZeroDivisionError), Checkpoints(tmp_path / "file") as written:
        written.save(3, TENSORS, {"job": {}})
        1 / 0  # noqa: B018
    assert "was not written either" in caplog.text, "it does not hide what ended the training"
