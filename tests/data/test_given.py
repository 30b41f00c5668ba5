"""Pictures that are given beside a data set: read by the same reader, with the data's own settings."""

import re
import tarfile

import numpy as np
import pytest
from PIL import Image

from fewstep.data import DataSpace, ingest
from fewstep.data.given import read_given, reader_for

SPACE = DataSpace("pets", "images", (3, 8, 8), 1.0, ("cat", "dog"))
RGBA = np.random.RandomState(0).randint(0, 256, (16, 24, 4)).astype(np.uint8)


def save(path, pixels=RGBA):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    for i in range(6):
        save(tmp_path / "in" / ("cat", "dog")[i % 2] / f"{i}.png", np.roll(RGBA, i, 0))
    (tmp_path / "in" / "cat" / "._0.png").write_bytes(b"x")
    return tmp_path / "in"


@pytest.mark.parametrize("settings", [{}, {"background": "black", "resampling": "box"}, {"mode": "grayscale"}])
def test_they_become_what_ingestion_makes_of_them(tmp_path, folder, settings):
    store = ingest({"name": "folder", "path": str(folder), "resolution": 8, **settings}, tmp_path / "out")
    found = read_given(reader_for(folder, store.space, store.source))
    assert sorted(picture.pixels.tobytes() for picture in found) == sorted(row.tobytes() for row in store.images())
    assert found[0].name == f"{folder}/cat/0.png"
    notes = {"brought to the size of the data", "transparent", *(["colour to grayscale"] if "mode" in settings else [])}
    assert set(found[0].notes) == notes


def test_without_a_source_nothing_is_resized(folder):
    found = read_given(reader_for(folder, SPACE))
    assert len(found) == 6
    assert found[0].pixels.shape == (3, 16, 24)
    assert read_given(reader_for(folder, DataSpace("grey", "images", (1, 8, 8), 1.0)))[0].pixels.shape == (1, 16, 24)


def test_what_is_left_out_is_said(tmp_path, caplog):
    for place in ("train", "test", "extra"):
        (tmp_path / place).mkdir()
        save(tmp_path / place / "0.png")
    assert len(read_given(reader_for(tmp_path, SPACE))) == 2
    assert re.search(rf"{tmp_path}: left out .*: 1, such as .*extra", caplog.text)


def test_every_place_that_ingestion_reads_is_read(tmp_path, folder):
    save(folder / "loose.png")  # beside folders: labels do not matter here
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        archive.add(folder, ".")
    np.savez(tmp_path / "a.npz", np.stack([RGBA[..., :3]] * 7), np.zeros(7, int))
    for place in (folder, tmp_path / "a.tar.gz", tmp_path / "a.npz"):
        assert len(read_given(reader_for(place, SPACE))) == 7
    assert len(read_given(reader_for(folder / "loose.png", SPACE))) == 1
    (folder / "loose.png").write_bytes(b"<html>")
    with pytest.raises(ValueError, match=r"loose\.png cannot be read \(it is a web page"):
        read_given(reader_for(folder, SPACE))
