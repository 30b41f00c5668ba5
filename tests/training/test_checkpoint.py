import errno

import pytest
import torch

from fewstep.support import tensor_files
from fewstep.training import checkpoint
from fewstep.training.checkpoint import checkpoints, load_newest, save_checkpoint

TENSORS = {"a/b": torch.arange(4.0), "optimizer.student/w/step": torch.tensor(3.0)}


def test_a_checkpoint_round_trips_and_the_two_newest_are_kept(tmp_path):
    for step in (1, 2, 10):
        save_checkpoint(tmp_path, step, TENSORS, {"job": {}})
    tensors, facts = load_newest(tmp_path)
    assert facts == {"step": 10, "job": {}} and all(torch.equal(tensors[k], TENSORS[k]) for k in TENSORS)
    assert [p.name for p in checkpoints(tmp_path)] == ["step_000000002", "step_000000010"]


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path):
    for step in (1, 2):
        save_checkpoint(tmp_path, step, TENSORS, {})
    (tmp_path / "step_000000002" / "checkpoint.safetensors").write_bytes(b"torn")
    assert load_newest(tmp_path)[1]["step"] == 1


def test_remains_of_an_interrupted_write_are_no_checkpoint_and_are_removed(tmp_path):
    save_checkpoint(tmp_path, 1, TENSORS, {})
    (tmp_path / ".step_000000002.99").mkdir()
    assert load_newest(tmp_path)[1]["step"] == 1
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
