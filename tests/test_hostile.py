"""A few hostile files of each reader; `python benchmarks/hostile.py` reads 500 of each, and measures memory."""

from importlib import import_module
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
READERS = ["images", "tables", "parquet", "zip", "tar", "lmdb", "npz", "npy"]
READERS += ["store", "model", "checkpoint", "pickle", "yaml", "request"]
FEW = 3

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hostile():
    """The benchmark."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(BENCHMARKS)
        yield import_module("hostile")


@pytest.fixture(scope="module")
def makers(hostile, tmp_path_factory):
    return hostile.makers(tmp_path_factory.mktemp("whole"))


@pytest.mark.parametrize("reader", READERS)
def test_a_hostile_file_is_read_or_refused(reader, hostile, makers, tmp_path):
    for seed, place in hostile.files.hostile_files(makers[reader], FEW, 0, tmp_path):
        found = hostile.attempt(reader, place)
        assert found.outcome in ("read", "refused"), f"{seed}: {found}"


def test_all_readers_are_tried(hostile, makers):
    assert list(hostile.READERS) == list(makers) == READERS


def test_what_hurts_a_reader_is_told(hostile, monkeypatch, tmp_path):
    def broken(place):
        raise RecursionError(place.name)

    monkeypatch.setitem(hostile.READERS, "yaml", broken)
    assert hostile.attempt("yaml", tmp_path / "x.yml").outcome == "RecursionError"


@pytest.mark.check
def test_many_hostile_files_are_read_or_refused(hostile):
    hostile.main(["--count=60", "--seed=1000000"])
