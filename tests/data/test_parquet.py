"""Parquet files as on the Hugging Face hub."""

import io
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fewstep.data import ingest, load_source

NAMES = ["cat", "dog"]


def encode(value, kind="png"):
    file = io.BytesIO()
    Image.fromarray(np.full((4, 4, 3), value, np.uint8)).save(file, kind)
    return file.getvalue()


def write(path, values, column="image", metadata=True, names=NAMES, **columns):
    cells = [{"bytes": v if v is None or isinstance(v, bytes) else encode(v), "path": None} for v in values]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    table = pa.table({column: pa.array(cells, kind), **columns})
    if metadata:
        facts = {"info": {"features": {"label": {"names": names, "_type": "ClassLabel"}}}}
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


def test_files_of_a_folder_that_are_called_test_are_held_out(tmp_path):
    """As the hub lays them out, below data/."""
    (tmp_path / "in" / "data").mkdir(parents=True)
    for name in ("test-00000-of-00001", "train-00000-of-00002", "train-00001-of-00002"):
        write(tmp_path / "in" / "data" / f"{name}.parquet", range(8), label=[0, 1] * 4)
    for train in ("in", "in/data", "in/data/*.parquet"):
        assert run(tmp_path, train=str(tmp_path / train)).split == {"train": [0, 16], "heldout": [16, 24]}
    files = [
        str(tmp_path / "in" / "data" / f"{name}-00000-of-0000{n}.parquet") for name, n in (("test", 1), ("train", 2))
    ]
    assert run(tmp_path, train=files).split == {"train": [0, 12], "heldout": [12, 16]}
    assert run(tmp_path, train=str(tmp_path / "in/data/test*")).count == 8


def test_class_names_come_from_the_parameter_or_are_numbers(tmp_path):
    write(tmp_path / "train.parquet", range(8), metadata=False, label=[0, 1] * 4, fine=[0, 1, 2, 3] * 2)
    assert run(tmp_path).space.classes == ("0", "1")
    assert run(tmp_path, classes=["a", "b"]).space.classes == ("a", "b")
    assert run(tmp_path, label_column="fine").space.classes == ("0", "1", "2", "3")
    with pytest.raises(ValueError, match="labels must be between 0 and 0 .the classes are a., got 0 to 1"):
        run(tmp_path, classes=["a"])


def test_labels_are_optional(tmp_path):
    write(tmp_path / "train.parquet", range(8))
    store = run(tmp_path)
    assert set(store.labels()) == {-1}
    assert store.space.classes == ()


def test_missing_columns_name_those_present(tmp_path):
    write(tmp_path / "train.parquet", range(8), column="picture", label=[0] * 8)
    with pytest.raises(ValueError, match="no column kind; it has picture, label"):
        run(tmp_path, label_column="kind")
    with pytest.raises(ValueError, match="the column label must hold pictures, as bytes or .*, got int64"):
        run(tmp_path, image_column="label")
    with pytest.raises(
        ValueError, match="the column picture must hold whole numbers or words, one for each row, got struct"
    ):
        run(tmp_path, label_column="picture")
    assert run(tmp_path).count == 8
    for columns, words in (
        ({"label": [0, 1], "text": ["a", "b"]}, r"it has label \(int64\), text \(string\)"),
        ({"image": [{"bytes": None, "path": "a.png"}]}, "Paths are not followed: write the files"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "train.parquet")
        with pytest.raises(ValueError, match=f"no column of pictures .*{words}"):
            run(tmp_path)


def test_several_columns_are_a_question(tmp_path):
    two = {"fine_label": [0, 1] * 4, "coarse_label": [0] * 8}
    for write_file in (lambda: described(tmp_path, two), lambda: write(tmp_path / "train.parquet", range(8), **two)):
        write_file()
        with pytest.raises(ValueError, match="several columns of labels. Set label_column: fine_label or coarse_label"):
            run(tmp_path)
    described(tmp_path, two)
    assert run(tmp_path, label_column="fine_label").space.classes == ("cat", "dog")
    assert run(tmp_path, label_column="none").space.classes == ()
    images = [encode(value) for value in range(8)]
    pq.write_table(pa.table({"left": images, "right": images}), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match="several columns of pictures. Set image_column: left or right"):
        run(tmp_path)
    assert run(tmp_path, image_column="right").count == 8


def test_files_that_number_the_classes_differently_are_refused(tmp_path):
    for name, names in (("train", NAMES), ("test", NAMES[::-1])):
        write(tmp_path / f"{name}.parquet", range(8), label=[0, 1] * 4, names=names)
    test = str(tmp_path / "test.parquet")
    with pytest.raises(ValueError, match=r"number the classes differently \(cat, dog; dog, cat\)"):
        run(tmp_path, test=test)
    assert run(tmp_path, test=test, classes=NAMES).space.classes == ("cat", "dog")


def described(tmp_path, columns):
    """A file whose own metadata say that all columns of labels have the classes cat and dog."""
    write(tmp_path / "train.parquet", range(8), metadata=False, **columns)
    features = {name: {"names": NAMES, "_type": "ClassLabel"} for name in columns}
    table = pq.read_table(tmp_path / "train.parquet")
    facts = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(facts), tmp_path / "train.parquet")


@pytest.mark.parametrize("name", ["labels", "fine_label", "kind"])
def test_the_files_own_metadata_name_the_labels(tmp_path, name):
    described(tmp_path, {name: [0, 1] * 4})
    store = run(tmp_path)
    assert store.space.classes == ("cat", "dog")
    np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


@pytest.mark.parametrize(
    "names", [5, "cd", {"a": "cat"}, {"1": "cat", "2": "dog"}, ["cat", None], [{}, "dog"]], ids=str
)
def test_metadata_that_name_the_classes_in_no_known_way_are_refused(tmp_path, names):
    write(tmp_path / "train.parquet", range(8), names=names, label=[0, 1] * 4)
    with pytest.raises(ValueError, match="must name the classes of the column label as a list of words.*Set classes"):
        run(tmp_path)
    assert run(tmp_path, classes=NAMES).space.classes == ("cat", "dog")


def test_names_of_classes_with_their_numbers_as_keys(tmp_path):
    write(tmp_path / "train.parquet", range(8), names={"1": "dog", "0": "cat"}, label=[0, 1] * 4)
    assert run(tmp_path).space.classes == ("cat", "dog")


@pytest.mark.parametrize("column", ["image", "label"])
def test_a_column_that_is_there_twice_is_refused(tmp_path, column):
    write(tmp_path / "train.parquet", range(8), label=[0, 1] * 4)
    table = pq.read_table(tmp_path / "train.parquet")
    pq.write_table(table.append_column(column, table[column]), tmp_path / "train.parquet")
    with pytest.raises(ValueError, match=f"has several columns called {column}. Rename or remove all but one"):
        run(tmp_path)


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array([0, 1] * 4, pa.uint8()), ("0", "1")),
        (pa.array([0, 1] * 4, pa.uint64()), ("0", "1")),
        (pa.array(["2", "10"] * 4), ("2", "10")),
        (pa.array(["cat", "dog"] * 4, pa.large_string()), ("cat", "dog")),
        (pa.array(["cat", "dog"] * 4).dictionary_encode(), ("cat", "dog")),
        (pa.array([False, True] * 4), ("false", "true")),
        (pa.nulls(8), ()),
        (pa.nulls(8, pa.int64()), ()),
    ],
    ids=str,
)
def test_labels_of_every_kind(tmp_path, labels, classes):
    write(tmp_path / "train.parquet", range(8), metadata=False, label=labels)
    store = run(tmp_path)
    assert store.space.classes == classes
    if classes:
        np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


@pytest.mark.parametrize("labels", [[0.0, 1.0] * 4, [[0], [1]] * 4], ids=str)
def test_a_column_that_is_called_as_labels_are_is_not_left_out_in_silence(tmp_path, labels):
    write(tmp_path / "train.parquet", range(8), metadata=False, labels=labels)
    with pytest.raises(ValueError, match="the column labels must hold whole numbers or words, .*label_column: none"):
        run(tmp_path)
    assert run(tmp_path, label_column="none").space.classes == ()


def test_labels_that_only_some_rows_have_are_refused(tmp_path):
    write(tmp_path / "train.parquet", range(8), label=[0, 1, None, 1] * 2)
    with pytest.raises(ValueError, match="2 of 8 rows have no label. .*label_column: none"):
        run(tmp_path)
    write(tmp_path / "train.parquet", range(8), label=pa.array([0, 2**64 - 1] * 4, pa.uint64()))
    with pytest.raises(ValueError, match="the column label holds numbers that are no labels"):
        run(tmp_path)


@pytest.mark.parametrize(
    "kind", [pa.binary(), pa.large_binary(), pa.binary_view(), pa.dictionary(pa.int32(), pa.binary())], ids=str
)
def test_pictures_as_bytes(tmp_path, kind):
    """As img2dataset writes them."""
    images = pa.array([encode(value) for value in range(8)], pa.binary()).cast(kind)
    table = pa.table({"key": [str(i) for i in range(8)], "caption": ["a"] * 8, "jpg": images, "class": [0, 1] * 4})
    pq.write_table(table, tmp_path / "train.parquet")
    store = run(tmp_path)
    assert store.space.classes == ("0", "1")
    assert store.source["found"]["left_out"] == {"columns that are not read": [2, "key"]}
    np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


def test_a_broken_row_is_named(tmp_path):
    write(tmp_path / "train.parquet", [*range(4), encode(4)[:40], 5, None, 7], label=[0, 1] * 4)
    with pytest.raises(ValueError, match=r"train\.parquet, row 4 cannot be read"):
        run(tmp_path)
    store = run(tmp_path, skip_broken=True)
    assert store.count == 6
    assert [name.split(", ")[1] for name in store.source["found"]["skipped"]] == ["row 4", "row 6"]
    np.testing.assert_array_equal(store.images()[:, 0, 0, 0] % 2, store.labels())


def test_a_damaged_file_is_named(tmp_path):
    write(tmp_path / "train.parquet", range(40), label=[0, 1] * 20)
    content = bytearray((tmp_path / "train.parquet").read_bytes())
    content[len(content) // 3 : len(content) // 2] = bytes(len(content) // 2 - len(content) // 3)
    (tmp_path / "train.parquet").write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as a Parquet file"):
        run(tmp_path)


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
    for nothing in ("", [], [""]):
        with pytest.raises(ValueError, match="parquet: train must be a path or a pattern, .*and not empty"):
            run(tmp_path, train=nothing)
    (tmp_path / "train.parquet").write_text("text")
    with pytest.raises(ValueError, match=r"train\.parquet cannot be read as a Parquet file"):
        run(tmp_path)
    write(tmp_path / "train.parquet", range(8))
    with pytest.raises(ValueError, match="is both a train file and a test file"):
        run(tmp_path, test=str(tmp_path / "train.parquet"))
    (tmp_path / "train-too.parquet").symlink_to(tmp_path / "train.parquet")
    for train in ([str(tmp_path / "train.parquet")] * 2, str(tmp_path / "train*")):
        with pytest.raises(ValueError, match=r"train.*\.parquet is named twice. Name each file once"):
            run(tmp_path, train=train)
    assert run(tmp_path, train=str(tmp_path / "train.parquet")).count == 8
    for content, words in ((b"version https://git-lfs", "a Git LFS pointer"), (b"<!DOCTYPE html>", "a web page")):
        (tmp_path / "train.parquet").write_bytes(content)
        with pytest.raises(ValueError, match=rf"train\.parquet cannot be read as a Parquet file \(it is {words}"):
            run(tmp_path, train=str(tmp_path / "train.parquet"))


def test_a_row_of_too_many_bytes_is_refused_by_its_number(tmp_path):
    write(tmp_path / "train.parquet", [10, 20, bytes(5000)])
    with pytest.raises(ValueError, match=r"train.parquet, row 2 has 5,000 bytes, and at most 1,000 are read"):
        run(tmp_path, most_bytes=1000)


@pytest.mark.parametrize("label", [2**62, 5 * 10**8])
def test_a_label_far_above_the_number_of_rows_is_refused(tmp_path, label):
    write(tmp_path / "train.parquet", [10, 20], metadata=False, label=[0, label])
    with pytest.raises(ValueError, match="labels must be between 0 and"):
        run(tmp_path)


def test_more_rows_than_bytes_are_refused_before_one_is_read(tmp_path):
    rows = pa.array(np.zeros(10**5, np.int8))
    images = pa.DictionaryArray.from_arrays(rows, pa.array([b"a picture"]))
    pq.write_table(pa.table({"image": images, "label": rows}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"a\.parquet promises 100,000 rows in [\d,]+ bytes, so they are not all pict"):
        load_source({"name": "parquet", "train": str(tmp_path / "a.parquet")}).listing()
