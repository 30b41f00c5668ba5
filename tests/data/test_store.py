"""The store on disk: whole or not there, mapped, hashed."""

import errno
import json
import shutil
from collections import namedtuple
from dataclasses import replace

import numpy as np
import pytest

from fewstep.data import examples
from fewstep.data import store as store_module
from fewstep.data.content_hash import content_hash, measure_scale
from fewstep.data.space import DataSpace
from fewstep.data.store import ArrayStore, write_store
from fewstep.data.verification import record_of, remember

SPACE = DataSpace("noise", "images", (3, 4, 4), 1.0, ("a", "b"))
IMAGES = np.random.RandomState(0).randint(0, 256, (20, 3, 4, 4)).astype(np.uint8)
LABELS = np.arange(20) % 2


def write(folder, images=IMAGES, labels=LABELS, space=SPACE, train=15, **rest):
    return write_store(folder, images, labels, space, train=train, **rest)


def test_what_is_written_is_read_as_a_map_of_the_file(tmp_path):
    store = write(tmp_path / "store")
    assert isinstance(store.images("train"), np.memmap)
    assert not store.images("train").flags.writeable
    np.testing.assert_array_equal(store.images("train"), IMAGES[:15])
    np.testing.assert_array_equal(store.images("heldout"), IMAGES[15:])
    np.testing.assert_array_equal(store.labels("heldout"), LABELS[15:])
    assert store == ArrayStore.open(tmp_path / "store")
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    store.verify()


def test_model_values_of_the_training_rows_have_the_wanted_deviation(tmp_path):
    for sigma_data in (0.5, 1.0):
        store = write(tmp_path / "store", sigma_data=sigma_data)
        encoded = store.space.encode(store.images("train"))
        assert float(encoded.std(correction=0)) == pytest.approx(sigma_data, rel=1e-6)
        np.testing.assert_array_equal(store.space.decode(encoded), IMAGES[:15])


def test_scale_of_points_is_that_of_numpy():
    points = np.random.RandomState(1).randn(100, 2).astype(np.float32) * 3 + 1
    assert measure_scale(points, 0.5) == pytest.approx(0.5 / points.astype(np.float64).std(), rel=1e-12)


@pytest.mark.parametrize(
    ("values", "words"),
    [(np.full((4, 1, 2, 2), 7, np.uint8), "the same"), (np.array([[1, np.nan]], np.float32), "must be finite")],
)
def test_values_without_a_deviation_are_refused(values, words):
    with pytest.raises(ValueError, match=words):
        measure_scale(values, 0.5)


def test_hash_is_that_of_the_content_alone(tmp_path):
    def sha(number, **changes):
        return write(tmp_path / str(number), **changes).sha256

    pixel, label = IMAGES.copy(), LABELS.copy()
    pixel[7, 1, 2, 3] ^= 1
    label[7] ^= 1
    first = sha(0)
    assert first == sha(1) == sha(2, source={"name": "x"}) == sha(3, space=DataSpace("other", *SPACE_REST))
    assert sha(4, positions=np.arange(20)[::-1], images=IMAGES[::-1]) == first
    changed = [sha(5, images=pixel), sha(6, labels=label), sha(7, train=14), sha(8, sigma_data=1.0)]
    assert len({first, *changed}) == 5


SPACE_REST = ("images", (3, 4, 4), 1.0, ("a", "b"))


def test_a_changed_file_is_found(tmp_path):
    store = write(tmp_path / "store")
    content = bytearray((store.folder / "images.npy").read_bytes())
    content[-1] ^= 1
    (store.folder / "images.npy").write_bytes(content)
    with pytest.raises(ValueError, match="was changed"):
        ArrayStore.open(store.folder).verify()


def overwrite(file, start, content):
    with file.open("r+b") as opened:
        opened.seek(start)
        opened.write(content)


FAULTS = {
    "noise behind the header": lambda folder: overwrite(folder / "images.npy", 128, b"n0ise" * 192),
    "one byte": lambda folder: overwrite(folder / "images.npy", -1 + (folder / "images.npy").stat().st_size, b"?"),
    "labels that are all 0": lambda folder: np.save(folder / "labels.npy", np.zeros(20, np.int64)),
    "another scale": lambda folder: rewrite(folder, lambda facts: facts["space"].update(scale=0.7)),
    "another split": lambda folder: rewrite(folder, lambda facts: facts.update(split=examples.split_after(14, 20))),
}


def rewrite(folder, change):
    facts = json.loads((folder / "store.json").read_text())
    change(facts)
    (folder / "store.json").write_text(json.dumps(facts))


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("seen", [True, False])
def test_a_store_that_was_changed_is_refused(tmp_path, fault, seen):
    store = write(tmp_path / "store")
    if seen:
        store.verify()
    FAULTS[fault](store.folder)
    with pytest.raises(ValueError, match="was changed after it was written"):
        ArrayStore.open(store.folder).verify()


def test_what_looks_as_it_did_is_not_read_again_unless_asked(tmp_path, monkeypatch):
    images, space = np.tile(IMAGES, (1, 1, 32, 32)), replace(SPACE, shape=(3, 128, 128))
    store = write(tmp_path / "store", images=images, space=space)
    store.verify()
    assert [path.name for path in tmp_path.iterdir() if path != store.folder] == [".store.verified"]
    reads = []
    monkeypatch.setattr(examples, "content_hash", lambda *given: reads.append(given) or content_hash(*given))
    ArrayStore.open(store.folder).verify()
    assert reads == []
    overwrite(store.folder / "images.npy", 9000, b"?")  # between two samples
    remember(
        store.folder, ("images.npy", "labels.npy", "store.json"), store.sha256
    )  # as where a disk fails in silence: times are the same
    store.verify()
    with pytest.raises(ValueError, match="was changed after it was written"):
        store.verify(in_full=True)


def test_a_record_that_is_damaged_or_cannot_be_kept_costs_a_read_alone(tmp_path):
    store = write(tmp_path / "store")
    record_of(store.folder).write_text("[")
    store.verify()
    record_of(store.folder).unlink()
    record_of(store.folder).mkdir()
    store.verify()


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ({"split": {"train": [0, 20], "heldout": [0, 20]}}, "the first ones for training"),
        ({"split": {"train": [0, -5], "heldout": [-5, 20]}}, "the first ones for training"),
        ({"split": {"train": [0, 99], "heldout": [99, 20]}}, "the first ones for training"),
        ({"split": {"train": [0]}}, "is damaged"),
        ({"split": [15]}, "is damaged"),
        ({"source": [1]}, "is damaged .what it says of its source is not as it was written"),
        ({"source": {"found": "x"}}, "is damaged .what it says of its source"),
        ({"source": {"found": {"layout": "flat"}}}, "is damaged .what it says of its source"),
        ({"sha256": None}, "sha256 must be 64 hexadecimal digits"),
        ({"count": 20.0}, "count must be a whole number"),
        ({"space": {**SPACE.to_dict(), "scale": 0}}, "scale must be"),
        ({"space": {**SPACE.to_dict(), "classes": ["a"]}}, "labels must be between"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(tmp_path, damage, words):
    folder = write(tmp_path / "store").folder
    rewrite(folder, lambda facts: facts.update(damage))
    with pytest.raises(ValueError, match=f"{words}.*[Ii]ngest the data again"):
        ArrayStore.open(folder)


@pytest.mark.parametrize(
    "labels", [np.full(20, 99), np.full(20, -7), np.zeros(20), np.zeros(20, np.int32), np.zeros((20, 1), np.int64)]
)
def test_labels_that_make_no_sense_are_refused(tmp_path, labels):
    folder = write(tmp_path / "store").folder
    np.save(folder / "labels.npy", labels)
    with pytest.raises(ValueError, match="is damaged"):
        ArrayStore.open(folder)


def test_files_that_do_not_belong_together_do_not_open(tmp_path):
    folder = write(tmp_path / "store").folder
    facts = json.loads((folder / "store.json").read_text())
    for damage in ({"count": 19}, {"surplus": 1}, {"space": {**facts["space"], "shape": [1, 4, 4]}}):
        (folder / "store.json").write_text(json.dumps(facts | damage))
        with pytest.raises(ValueError, match="damaged"):
            ArrayStore.open(folder)
    with pytest.raises(ValueError, match="Ingest the data first"):
        ArrayStore.open(tmp_path)


def test_unknown_split_names_the_nearest(tmp_path):
    with pytest.raises(ValueError, match="Did you mean 'train'"):
        write(tmp_path / "store").images("trian")


def test_too_little_space_is_found_before_work(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(100, 0, 100))
    rows = iter(IMAGES)
    with pytest.raises(OSError, match=r"store: 66,656 bytes are needed") as caught:
        write(tmp_path / "store", images=rows)
    assert caught.value.errno == errno.ENOSPC
    assert len(list(rows)) == 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError("broken")])
def test_a_write_that_fails_leaves_the_older_store(tmp_path, monkeypatch, failure):
    before = write(tmp_path / "store")

    def fail(*_):
        raise failure

    monkeypatch.setattr(store_module.np, "save", fail)
    with pytest.raises(type(failure)) as caught:
        write(tmp_path / "store", images=IMAGES[::-1])
    if isinstance(failure, OSError):
        assert "bytes are needed" in str(caught.value)
        assert str(tmp_path / "store") in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert ArrayStore.open(tmp_path / "store") == before
    before.verify()


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "photo.png").write_bytes(b"dear to someone")
    with pytest.raises(ValueError, match="not empty"):
        write(tmp_path)
    assert (tmp_path / "photo.png").exists()


def test_rows_unlike_the_space_are_refused(tmp_path):
    for images in (IMAGES[:, :1], IMAGES.astype(np.float32)):
        with pytest.raises(ValueError, match="row 0 must be"):
            write(tmp_path / "store", images=images)
    with pytest.raises(ValueError, match="labels must be between -1 .none. and .*, got 0 to 2"):
        write(tmp_path / "store", labels=np.arange(20) % 3)
    assert list(tmp_path.iterdir()) == []
