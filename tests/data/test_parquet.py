"""Parquet files as on the Hugging Face hub."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fewstep.data import ingest

NAMES = ["cat", "dog"]


def encode(value, kind="png"):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, kind)
    return file.getvalue()


def write(path, values, column="image", metadata=True, **columns):
    cells = [{"bytes": v if v is None or isinstance(v, bytes) else encode(v), "path": None} for v in values]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({column: pa.array(cells, kind), **columns})
    if metadata:
        facts = {"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(facts)})
    pq.write_table(table, path, row_group_size=3)


def run(tmp_path, **spec):
    return ingest({"name": "parquet", "train": str(tmp_path / "train*.parquet"), **spec}, tmp_path / "out")


def test_train_and_test_files_are_the_split(tmp_path):
    for part in (0, 1):
        values = np.arange(part * 100, part * 100 + 100)
        write(tmp_path / f"train-{part}.parquet", values, label=values % 2)
    write(tmp_path / "test.parquet", [250, 251], label=[0, 1])
    store = run(tmp_path, test=str(tmp_path / "test.parquet"))
    assert store.split == {"train": [0, 200], "heldout": [200, 202]}
    assert store.space.classes == tuple(NAMES)
    assert sorted(store.images("train")[:, 0, 0, 0]) == list(range(200))
    assert sorted(store.images("heldout")[:, 0, 0, 0]) == [250, 251]
    np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


def test_without_test_files_the_store_splits(tmp_path):
    write(tmp_path / "train.parquet", range(40), column="img", label=[0, 1] * 20)
    store = run(tmp_path)
    assert np.bincount(store.labels("heldout")).tolist() == [5, 5]


def test_class_names_come_from_the_parameter_or_are_numbers(tmp_path):
    write(tmp_path / "train.parquet", range(8), metadata=False, label=[0, 1] * 4, fine=[0, 1, 2, 3] * 2)
    assert run(tmp_path).space.classes == ("0", "1")
    assert run(tmp_path, classes=["a", "b"]).space.classes == ("a", "b")
    assert run(tmp_path, label_column="fine").space.classes == ("0", "1", "2", "3")
    with pytest.raises(ValueError, match="labels must be between 0 and 0, got 0 to 1"):
        run(tmp_path, classes=["a"])


def test_labels_are_optional(tmp_path):
    write(tmp_path / "train.parquet", range(8))
    store = run(tmp_path)
    assert set(store.labels()) == {-1}
    assert store.space.classes == ()


def test_missing_columns_name_those_present(tmp_path):
    write(tmp_path / "train.parquet", range(8), column="picture", label=[0] * 8)
    with pytest.raises(ValueError, match="no column image or img; it has picture, label"):
        run(tmp_path)
    with pytest.raises(ValueError, match="no column kind; it has picture, label"):
        run(tmp_path, image_column="picture", label_column="kind")
    with pytest.raises(ValueError, match="the column label must be struct<bytes, path>, got int64"):
        run(tmp_path, image_column="label")
    assert run(tmp_path, image_column="picture").count == 8


def test_a_broken_row_is_named(tmp_path):
    write(tmp_path / "train.parquet", [*range(4), encode(4)[:40], 5, None, 7], label=[0, 1] * 4)
    with pytest.raises(ValueError, match=r"train\.parquet, row 4 cannot be read"):
        run(tmp_path)
    store = run(tmp_path, skip_broken=True)
    assert store.count == 6
    assert [name.split(", ")[1] for name in store.source["found"]["skipped"]] == ["row 4", "row 6"]
    np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


@pytest.mark.parametrize("kind", ["bmp", "gif", "tiff"])
def test_what_hubs_hold_beside_png_is_read(tmp_path, kind):
    write(tmp_path / "train.parquet", [encode(value, kind) for value in range(8)])
    assert sorted(run(tmp_path).images()[:, 0, 0, 0]) == list(range(8))


@pytest.mark.parametrize("kind", ["eps", "ppm"])
def test_no_other_format_is_opened(tmp_path, kind):
    write(tmp_path / "train.parquet", [*range(8), encode(8, kind)])
    with pytest.raises(ValueError, match=r"train\.parquet, row 8 cannot be read \(it is none of PNG, JPEG"):
        run(tmp_path)


def test_files_that_are_not_there_or_no_parquet(tmp_path):
    with pytest.raises(ValueError, match="no file matches"):
        run(tmp_path)
    (tmp_path / "train.parquet").write_text("text")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as a Parquet file"):
        run(tmp_path)
    write(tmp_path / "train.parquet", range(8))
    with pytest.raises(ValueError, match="is both a train file and a test file"):
        run(tmp_path, test=str(tmp_path / "train.parquet"))
