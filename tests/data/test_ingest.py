"""From a spec to a store, and the sources that need no files."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from fewstep.data import ingest, load_source
from fewstep.data.moons import Moons


def test_digits_give_their_ink_back_exactly(tmp_path):
    from sklearn.datasets import load_digits

    store = ingest({"name": "digits"}, tmp_path / "store")
    ink = np.rint(store.images().astype(np.float64) * 16 / 255)[:, 0]
    digits = load_digits()
    stored = sorted((label, *image.ravel()) for label, image in zip(store.labels(), ink, strict=True))
    assert stored == sorted((label, *image.ravel()) for label, image in zip(digits.target, digits.images, strict=True))
    assert (store.space.shape, store.count, len(store.space.classes)) == ((1, 8, 8), 1797, 10)


def test_digits_are_split_by_label_and_seed(tmp_path):
    first, again, other = (ingest({"name": "digits"}, tmp_path / str(i), seed=i // 2) for i in range(3))
    assert first.sha256 == again.sha256 != other.sha256
    counts = np.bincount(first.labels("heldout")) - np.bincount(first.labels()) / 4
    assert np.abs(counts).max() <= 1
    assert first.source["split"] == {"heldout": 0.25, "seed": 0}
    assert len(set(first.labels("train")[:200])) == 10


def test_moons_are_points(tmp_path):
    calls = []
    store = ingest(
        {"name": "moons", "count": 200, "noise": 0},
        tmp_path / "store",
        name="two",
        on_progress=lambda done, total: calls.append((done, total)),
    )
    assert (store.space.name, store.space.kind, store.space.shape) == ("two", "points", (2,))
    assert store.images().dtype == np.float32
    upper = store.images()[store.labels() == 0]
    np.testing.assert_allclose(np.linalg.norm(upper, axis=1), 1, rtol=1e-6)
    assert calls == [(i + 1, 200) for i in range(200)]
    encoded = store.space.encode(store.images("train"))
    assert float(encoded.std(correction=0)) == pytest.approx(0.5, rel=1e-5)
    np.testing.assert_allclose(store.space.decode(encoded), store.images("train"), rtol=1e-6)


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"name": "digit"}, "Did you mean 'digits'.*Allowed: cifar10, digits"),
        ({}, "no data source None"),
        ({"name": "moons", "nois": 1}, "Did you mean 'noise'"),
        ({"name": "folder"}, "needs path"),
        ({"name": "moons", "count": 2.5}, r"count must be a whole number, got 2\.5"),
        ({"name": "moons", "count": True}, "count must be a whole number, got True"),
        ({"name": "moons", "noise": -1}, "noise must be between 0 and 10, got -1"),
        ({"name": "moons", "seed": "0"}, "seed must be a whole number, got '0'"),
        ({"name": "folder", "path": 3}, "path must be a path, got 3"),
        ({"name": "folder", "path": "x", "resolution": 0}, "resolution must be between 1 and 4096, got 0"),
        (
            {"name": "folder", "path": "x", "resolution": [8]},
            r"must be \[height, width\], each .* got \[8\]",
        ),
        ({"name": "folder", "path": "x", "resolution": [8, 0]}, r"resolution must be \[height, width\], each"),
        ({"name": "folder", "path": "x", "resolution": "8x9"}, r"a whole number, or \[height, width\], got '8x9'"),
        ({"name": "folder", "path": "x", "mode": "gray"}, "Did you mean 'grayscale'"),
        (
            {"name": "folder", "path": "x", "background": "whit"},
            "background must be a colour name or '#rrggbb', got 'whit'",
        ),
        ({"name": "folder", "path": "x", "skip_broken": 1}, "skip_broken must be true or false, got 1"),
        ({"name": "parquet", "train": [3]}, r"train must be a list of strings, got \[3\]"),
        ({"name": "parquet", "train": "x", "label_column": 3}, "label_column must be the name of a column, got 3"),
        ({"name": "cifar10", "root": "x", "download": "yes"}, "download must be true or false, got 'yes'"),
    ],
)
def test_a_bad_spec_says_what_is_allowed(spec, words):
    with pytest.raises(ValueError, match=words):
        load_source(spec)


@pytest.mark.parametrize("setting", [{"heldout": 1.5}, {"heldout": 0}, {"sigma_data": -1}, {"seed": 0.5}])
def test_bad_settings_fail_before_work(tmp_path, setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        ingest({"name": "digits"}, tmp_path / "store", **setting)
    assert not (tmp_path / "store").exists()


def test_a_source_is_a_value():
    assert load_source({"name": "moons", "count": 10}) == Moons(count=10)


@pytest.mark.check
def test_cifar10_whole(tmp_path):
    folder = os.environ.get("FEWSTEP_CIFAR10_PARQUET")
    if not folder:
        pytest.skip("set FEWSTEP_CIFAR10_PARQUET to a folder of CIFAR-10 Parquet files (train*.parquet, test*.parquet)")
    spec = {"name": "parquet", "train": str(Path(folder, "train*")), "test": str(Path(folder, "test*"))}
    store = ingest(spec, tmp_path / "store", name="cifar10")
    assert store.split == {"train": [0, 50_000], "heldout": [50_000, 60_000]}
    assert set(np.bincount(store.labels("heldout"))) == {1000}
    assert store.space.scale == pytest.approx(1, abs=0.02)
    store.verify()
    assert json.loads((store.folder / "store.json").read_text())["source"]["found"]["converted"] == {}
