"""torchvision's CIFAR-10, with small files in place of the real ones."""

import hashlib
import pickle

import numpy as np
import pytest

from fewstep.data import ingest
from fewstep.support.torchvision_loading import import_torchvision


@pytest.fixture
def root(tmp_path, monkeypatch):
    """Five training files and a test file of four pictures each, whose MD5s torchvision takes as known."""
    import_torchvision()
    from torchvision.datasets import CIFAR10

    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()

    def dump(name, content):
        data = pickle.dumps(content)
        (folder / name).write_bytes(data)
        return hashlib.md5(data).hexdigest()

    def batch(value):
        pixels = np.full((4, 3, 1024), value, np.uint8)
        pixels[:, 1] = np.arange(1024) % 32
        return {"data": pixels.reshape(4, 3072), "labels": [0, 1, 0, 1]}

    names = [f"data_batch_{i}" for i in range(1, 6)]
    monkeypatch.setattr(CIFAR10, "train_list", [[name, dump(name, batch(i))] for i, name in enumerate(names)])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", dump("test_batch", batch(9))]])
    md5 = dump("batches.meta", {"label_names": ["airplane", "automobile"]})
    monkeypatch.setattr(CIFAR10, "meta", {"filename": "batches.meta", "key": "label_names", "md5": md5})
    return tmp_path


def test_its_own_split_and_classes(root):
    store = ingest({"name": "cifar10", "root": str(root)}, root / "out")
    assert store.split == {"train": [0, 20], "heldout": [20, 24]}
    assert store.space.classes == ("airplane", "automobile")
    assert set(store.images("heldout")[:, 0].ravel()) == {9}
    np.testing.assert_array_equal(store.images()[0, 1, 5], np.arange(32))


def test_missing_and_changed_files_are_named(root):
    file = root / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(b"changed")
    with pytest.raises(ValueError, match="data_batch_3 is not the file that was published"):
        ingest({"name": "cifar10", "root": str(root)}, root / "out")
    file.unlink()
    with pytest.raises(ValueError, match=r"data_batch_3 is missing\. Unpack .*cifar-10-python\.tar\.gz in .*download"):
        ingest({"name": "cifar10", "root": str(root)}, root / "out")
