"""How pictures, labels and splits lie in a place: each layout is known by what it holds."""

import hashlib
import io
import json
import os
import pickle
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewstep.data import ingest, load_source

PIXELS = np.random.RandomState(0).randint(0, 256, (12, 8, 8, 3)).astype(np.uint8)
LABELS = np.array([0, 1, 2] * 4)
NAMES = ("cat", "dog", "owl")


def encoded(number, kind="png"):
    file = io.BytesIO()
    Image.fromarray(PIXELS[number % len(PIXELS)]).save(file, kind)
    return file.getvalue()


def put(path, content=None, number=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(encoded(number) if content is None else content)


def listed(path, **options):
    """A listing, with the pictures that it gives as arrays in place of files."""
    listing = load_source({"name": "folder", "path": str(path), **options}).listing()
    pictures = [np.asarray(Image.open(opener())) for _, opener in listing.pictures()]
    assert len(pictures) == len(listing.labels)
    return replace(listing, layout=listing.layout.partition(":")[0]), pictures


def names_of(path, **options):
    return [name for name, _ in load_source({"name": "folder", "path": str(path), **options}).listing().pictures()]


def parquet_of(rows):
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), file)
    return file.getvalue()


def tar_of(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


class TestFolders:
    @pytest.mark.parametrize("heldout", ["test", "val", "Validation", "eval", "validate", "holdout", "heldout"])
    def test_splits_with_classes(self, tmp_path, heldout):
        for split, count in (("train", 3), (heldout, 2)):
            for name in ("cat", "dog"):
                for i in range(count):
                    put(tmp_path / split / name / f"{i}.png")
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.classes) == ("splits", ("cat", "dog"))
        assert listing.labels.tolist() == [0, 0, 0, 1, 1, 1, 0, 0, 1, 1]
        assert listing.heldout.tolist() == [False] * 6 + [True] * 4
        store = ingest({"name": "folder", "path": str(tmp_path)}, tmp_path / ".out")
        assert store.split == {"train": [0, 6], "heldout": [6, 10]}

    @pytest.mark.parametrize("heldout", ["testset", "valset"])
    def test_splits_that_are_called_sets(self, tmp_path, heldout):
        for split in ("trainset", heldout):
            for name in ("cat", "dog"):
                put(tmp_path / split / name / "0.png")
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.classes) == ("splits", ("cat", "dog"))
        assert listing.heldout.tolist() == [False, False, True, True]

    def test_a_parameter_overrules_what_is_recognised(self, tmp_path):
        for name in ("train/cat", "test/cat"):
            put(tmp_path / name / "0.png")
        assert listed(tmp_path, layout="classes")[0].classes == ("test", "train")
        flat = listed(tmp_path, layout="flat")[0]
        assert (flat.layout, flat.classes, flat.labels.tolist()) == ("flat", (), [-1, -1])
        assert listed(tmp_path, label_column="none")[0].classes == ()
        with pytest.raises(ValueError, match="label_column is for layouts metadata, .*is laid out as splits"):
            listed(tmp_path, label_column="kind")
        with pytest.raises(ValueError, match=r"is not laid out as 'edm', which needs dataset\.json"):
            listed(tmp_path, layout="edm")
        with pytest.raises(ValueError, match="There is no layout 'clases' of pictures. Did you mean 'classes'"):
            listed(tmp_path, layout="clases")

    def test_splits_without_classes(self, tmp_path):
        for name in ("train/0", "train/1", "test/0"):
            put(tmp_path / f"{name}.png")
        listing, _ = listed(tmp_path)
        assert (listing.classes, listing.heldout.tolist()) == ((), [False, False, True])

    def test_train_among_other_names_is_a_class(self, tmp_path):
        for name in ("train", "bus"):
            put(tmp_path / name / "0.png")
        assert listed(tmp_path)[0].classes == ("bus", "train")

    def test_a_split_without_labels_is_left_out_beside_labelled_ones(self, tmp_path):
        for name in ("train/cat/0", "train/dog/0", "val/cat/0", "test/0"):
            put(tmp_path / f"{name}.png")
        listing, _ = listed(tmp_path)
        assert listing.heldout.tolist() == [False, False, True]
        assert listing.left_out == {"pictures that belong to no row": (1, f"{tmp_path}/test/0.png")}

    def test_splits_of_other_classes_are_refused(self, tmp_path):
        for name in ("train/cat/0", "train/dog/0", "val/images/0"):
            put(tmp_path / f"{name}.png")
        with pytest.raises(ValueError, match="val has the class images, and train has none of its classes"):
            listed(tmp_path)

    @pytest.mark.parametrize(
        "train, heldout",
        [("seg_train/seg_train", "seg_test/seg_test"), ("train2017", "val2017"), ("pets-train", "pets-test")],
    )
    def test_splits_in_longer_names(self, tmp_path, train, heldout):
        for split in (train, heldout):
            for name in ("cat", "dog"):
                put(tmp_path / split / name / "0.png")
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.classes) == ("splits", ("cat", "dog"))
        assert listing.heldout.tolist() == [False, False, True, True]
        assert names_of(tmp_path)[0] == f"{tmp_path}/{train}/cat/0.png"
        put(tmp_path / "boat" / "0.png")
        assert listed(tmp_path)[0].layout == "classes"

    def test_classes_whose_names_have_such_words_are_classes(self, tmp_path):
        for name in ("toy_train", "crash_test"):
            put(tmp_path / name / "0.png")
        assert listed(tmp_path)[0].classes == ("crash_test", "toy_train")

    @pytest.mark.parametrize(
        "folders",
        [
            ("cat/train", "dog/train", "cat/test", "dog/test"),
            ("train_cat", "train_dog", "test_cat", "test_dog"),
            ("trainCat", "trainDog", "testCat", "testDog"),
        ],
    )
    def test_splits_in_each_class(self, tmp_path, folders):
        for name in folders:
            put(tmp_path / name / "0.png")
        listing, _ = listed(tmp_path)
        assert (listing.layout, [name.lower() for name in listing.classes]) == ("splits", ["cat", "dog"])
        assert (listing.labels.tolist(), listing.heldout.tolist()) == ([0, 1, 0, 1], [False, False, True, True])
        assert names_of(tmp_path) == [f"{tmp_path}/{name}/0.png" for name in folders]
        assert listed(tmp_path, label_column="none")[0].heldout.tolist() == [False, False, True, True]
        (tmp_path / folders[0] / "0.png").unlink()
        assert listed(tmp_path)[0].layout == "classes"

    def test_a_folder_without_pictures_beside_the_only_one_with_them_is_no_class(self, tmp_path):
        """As ImageNet comes."""
        for split in ("train", "val"):
            for name in ("n01", "n02"):
                put(tmp_path / "ILSVRC" / "Data" / "CLS-LOC" / split / name / "0.png")
                put(tmp_path / "ILSVRC" / "Annotations" / "CLS-LOC" / split / name / "0.xml", b"x")
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.classes) == ("splits", ("n01", "n02"))
        assert list(listing.left_out) == ["files that are no pictures (.xml)"]
        (tmp_path / "ILSVRC" / "Empty").mkdir()
        assert listed(tmp_path)[0].classes == ("Data", "Empty")

    def test_classes_sort_as_numbers_and_an_empty_one_keeps_its_own(self, tmp_path):
        for name in ("0", "1", "10", "2"):
            put(tmp_path / name / "a.png")
        put(tmp_path / "3" / "Thumbs.db", b"x")
        put(tmp_path / "4" / "a.heic", b"x")
        put(tmp_path / "notes" / "a.txt", b"x")
        listing, _ = listed(tmp_path)
        assert listing.classes == ("0", "1", "2", "3", "4", "10")
        assert listing.labels.tolist() == [0, 1, 5, 2]
        assert listing.left_out == {
            "hidden files and those of the system": (1, f"{tmp_path}/3/Thumbs.db"),
            "pictures of a format that is not read (.heic)": (1, f"{tmp_path}/4/a.heic"),
            "files that are no pictures (.txt)": (1, f"{tmp_path}/notes/a.txt"),
        }

    def test_what_systems_leave_is_ignored(self, tmp_path):
        put(tmp_path / "cat" / "0.png")
        put(tmp_path / "dog" / "0.png")
        for name in ("cat/._0.png", ".DS_Store", "__MACOSX/cat/0.png", "cat/Thumbs.db"):
            put(tmp_path / name)
        assert names_of(tmp_path) == [f"{tmp_path}/cat/0.png", f"{tmp_path}/dog/0.png"]

    def test_links_are_followed_but_not_in_circles(self, tmp_path):
        put(tmp_path / "in" / "dog" / "0.png")
        put(tmp_path / "cats" / "0.png")
        (tmp_path / "in" / "cat").symlink_to(tmp_path / "cats")
        (tmp_path / "in" / "self").symlink_to(tmp_path / "in")
        listing, _ = listed(tmp_path / "in")
        assert listing.classes == ("cat", "dog")
        assert listing.left_out == {"links to a folder above": (1, f"{tmp_path}/in/self")}

    def test_a_class_that_is_no_text_is_refused_before_work(self, tmp_path):
        put(tmp_path / "in" / "dog" / "0.png")
        for number, (name, words) in enumerate(
            (
                (os.fsdecode(b"caf\xe9"), r"'caf\\udce9' is not UTF-8"),
                ("a\x1b[2J\n", r"'a\\x1b\[2J\\n' is no text that can be shown"),
            )
        ):
            put(tmp_path / f"{number}" / name / "0.png")
            put(tmp_path / f"{number}" / "dog" / "0.png")
            with pytest.raises(ValueError, match=f"the name of the class {words}. Rename it"):
                ingest({"name": "folder", "path": str(tmp_path / f"{number}")}, tmp_path / "out")


class TestIndexes:
    def edm(self, path, labels):
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(path, "w") as archive:
            for i in range(12):
                archive.writestr(f"{i // 4:05d}/img{i:08d}.png", encoded(i))
            if labels is not False:
                archive.writestr("dataset.json", json.dumps({"labels": labels}))
        return path

    def test_edm_with_labels_without_and_with_none(self, tmp_path):
        files = [f"{i // 4:05d}/img{i:08d}.png" for i in range(12)]
        for pairs, labels in (
            ([[file, i % 3] for i, file in enumerate(files)], LABELS.tolist()),
            (None, [-1] * 12),
            (False, [-1] * 12),
        ):
            listing, pictures = listed(self.edm(tmp_path / "a.zip", pairs))
            assert (listing.layout, listing.labels.tolist()) == ("edm", labels)
            np.testing.assert_array_equal(pictures, PIXELS)
            assert listing.left_out == {}
        for pairs, words in (
            ([[file, [0.5, 0.1]] for file in files], "img00000000.png has a list of numbers"),
            ([[files[0], 1]], "img00000001.png has no label"),
            ([[file, 1.0] for file in files], r"img00000000.png has 1\.0"),
            (["a", 5], "dataset.json must hold .*file, number"),
        ):
            with pytest.raises(ValueError, match=words):
                listed(self.edm(tmp_path / "a.zip", pairs))

    def test_edm_without_its_labels(self, tmp_path):
        pairs = [[f"{i // 4:05d}/img{i:08d}.png", [0.5, 0.1]] for i in range(12)]
        listing, _ = listed(self.edm(tmp_path / "a.zip", pairs), label_column="none")
        assert (listing.layout, listing.labels.tolist(), listing.classes) == ("edm", [-1] * 12, ())

    def test_another_dataset_json_is_no_index(self, tmp_path):
        put(tmp_path / "cat" / "0.png")
        put(tmp_path / "dog" / "0.png")
        put(tmp_path / "dataset.json", b'{"name": "pets"}')
        assert listed(tmp_path)[0].layout == "classes"

    def test_numbered_pictures_with_another_index_are_refused(self, tmp_path):
        put(tmp_path / "00000" / "img00000000.png")
        put(tmp_path / "dataset.json", b"[]")
        with pytest.raises(ValueError, match=r"dataset\.json must hold .*file, number"):
            listed(tmp_path)

    def metadata(self, folder, rows):
        for row in rows:
            put(folder / row["file_name"])
        put(folder / "metadata.jsonl", "\n".join(map(json.dumps, rows)).encode())

    def test_metadata_with_splits(self, tmp_path):
        rows = [{"file_name": f"{i}.png", "label": NAMES[i % 3], "text": "a"} for i in (2, 0, 1)]
        for split in ("test", "train"):
            self.metadata(tmp_path / split, rows)
        put(tmp_path / "test" / "extra.png")
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.classes) == ("metadata", NAMES)
        assert listing.labels.tolist() == [2, 0, 1] * 2
        assert listing.heldout.tolist() == [False] * 3 + [True] * 3
        assert names_of(tmp_path)[0] == f"{tmp_path}/train/2.png"
        assert listing.left_out == {"pictures that belong to no row": (1, f"{tmp_path}/test/extra.png")}

    def test_metadata_in_csv(self, tmp_path):
        for i in range(3):
            put(tmp_path / f"{i}.png")
        put(tmp_path / "metadata.csv", b"file_name,kind,class,category\n0.png,1,b,x\n2.png,0,a,y\n1.png,2,b,x\n")
        with pytest.raises(ValueError, match=r"Set label_column: class or category \(none: no labels\)"):
            listed(tmp_path)
        assert listed(tmp_path, label_column="kind")[0].labels.tolist() == [1, 0, 2]
        assert listed(tmp_path, label_column="class")[0].classes == ("a", "b")
        assert listed(tmp_path, label_column="kind", classes=NAMES)[0].classes == NAMES
        with pytest.raises(ValueError, match="no label column 'nam'; it has file_name, kind"):
            listed(tmp_path, label_column="nam")
        put(tmp_path / "metadata.csv", b"file_name,label\n../../etc/passwd.png,1\n")
        with pytest.raises(ValueError, match=r"row 1: there is no picture '../../etc/passwd\.png'"):
            listed(tmp_path)
        put(tmp_path / "metadata.csv", b"file_name,label\n0.png,1\n0.png,1\n")
        with pytest.raises(ValueError, match=r"the metadata name 0\.png twice"):
            listed(tmp_path)
        put(tmp_path / "metadata.csv", b'file_name,label,caption\r\n0.png,-1,"a\r\nb"\r\n1.png,-1,c,d\r\n')
        assert listed(tmp_path)[0].labels.tolist() == [-1, -1]
        put(tmp_path / "metadata.csv", b"file_name,caption\n0.png,a\n")
        listing, _ = listed(tmp_path)
        assert (listing.layout, list(listing.left_out)) == ("flat", ["files that are no pictures (.csv)"])

    def test_a_column_that_the_first_row_lacks_is_one(self, tmp_path):
        self.metadata(tmp_path, [{"file_name": f"{i}.png", **({"label": i} if i else {})} for i in range(3)])
        with pytest.raises(ValueError, match="1 of 3 rows have no label"):
            listed(tmp_path)
        assert listed(tmp_path, label_column="none")[0].labels.tolist() == [-1] * 3

    def test_spaces_beside_the_commas_of_csv_are_no_part_of_a_cell(self, tmp_path):
        for i in range(2):
            put(tmp_path / f"{i}.png")
        put(tmp_path / "metadata.csv", b"file_name , label\n0.png, dog\n1.png, cat\n")
        listing, _ = listed(tmp_path)
        assert (listing.classes, listing.labels.tolist()) == (("cat", "dog"), [1, 0])

    @pytest.mark.parametrize("suffix", ["csv", "csv;", "jsonl", "parquet"])
    def test_tables_of_every_kind(self, tmp_path, suffix):
        rows = [{"filename": f"{i}.png", "kind": NAMES[i], "label": i % 2} for i in range(3)]
        for row in rows:
            put(tmp_path / row["filename"])
        kind, sign = suffix.rstrip(";"), ";" if suffix.endswith(";") else ","
        table = [sign.join(rows[0]), *(sign.join(map(str, row.values())) for row in rows)]
        text = "\n".join(table if kind == "csv" else map(json.dumps, rows)).encode()
        put(tmp_path / f"metadata.{kind}", parquet_of(rows) if kind == "parquet" else text)
        listing, _ = listed(tmp_path)
        assert (listing.layout, listing.labels.tolist(), listing.left_out) == ("metadata", [0, 1, 0], {})
        assert listed(tmp_path, label_column="kind")[0].classes == NAMES

    def test_labels_of_unnamed_pictures_are_not_left_out_in_silence(self, tmp_path):
        put(tmp_path / "0.png")
        put(tmp_path / "metadata.csv", b"id,label\n0,1\n")
        with pytest.raises(ValueError, match=r"has labels \(label\) and no column file_name .*; it has id, label"):
            listed(tmp_path)
        assert listed(tmp_path, layout="flat")[0].classes == listed(tmp_path, label_column="none")[0].classes == ()

    @pytest.mark.parametrize(
        ("rows", "words"),
        [
            ([{"file_name": "0.png", "label": [1]}], r"the column label must hold whole numbers or words, .*got list"),
            ([{"file_name": 0, "label": 1}], "the column file_name must hold words, got int64"),
            ([{"file_name": "0.png", "label": "a" * 5000}], "words of at most 4,096 bytes, got one of 5,000"),
            ([{"file_name": "0.png", "label": "a"}] * 99_999, "promises 99,999 rows in .* bytes, so they are not all"),
        ],
    )
    def test_a_parquet_file_of_metadata_that_cannot_be_read_or_is_too_large(self, tmp_path, rows, words):
        put(tmp_path / "0.png")
        put(tmp_path / "metadata.parquet", parquet_of(rows))
        with pytest.raises(ValueError, match=rf"metadata\.parquet.*{words}"):
            listed(tmp_path)

    def test_what_stands_in_the_place_of_metadata_in_a_zip_is_said(self, tmp_path):
        with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
            archive.writestr("0.png", encoded(0))
            archive.writestr("metadata.parquet", "<!DOCTYPE html>")
        with pytest.raises(ValueError, match=r"all\.zip/metadata\.parquet cannot be read .*it is a web page in place"):
            listed(tmp_path / "all.zip")

    def test_what_is_not_asked_for_in_parquet_is_not_read(self, tmp_path):
        rows = [{"file_name": f"{n}.png", "label": n % 2, "caption": "b" * 2**20} for n in range(8)]
        for number in range(8):
            put(tmp_path / f"{number}.png", number=number)
        put(tmp_path / "metadata.parquet", parquet_of(rows))
        tracemalloc.start()
        assert listed(tmp_path)[0].labels.tolist() == [0, 1] * 4
        assert tracemalloc.get_traced_memory()[1] < 2**20
        tracemalloc.stop()

    def test_what_is_wrong_in_metadata_is_said_with_its_place(self, tmp_path):
        for i in range(2):
            put(tmp_path / f"{i}.png")
        put(tmp_path / "metadata.csv", b"file_name,Label\n0.png,\n1.png,cat\n")
        with pytest.raises(ValueError, match="1 of 2 rows have no label"):
            listed(tmp_path)
        (tmp_path / "metadata.csv").unlink()
        for text, words in (("{bad", "line 3, column 2: Expecting"), ("[1]", "line 3 is no object")):
            put(tmp_path / "metadata.jsonl", f'{{"file_name": "0.png", "label": 1}}\n\n{text}\n'.encode())
            with pytest.raises(ValueError, match=words):
                listed(tmp_path)

    def shard(self, numbers, label):
        return {
            f"{i:04d}.{end}": content
            for i in numbers
            for end, content in (("png", encoded(i)), label(i), ("txt", b"a"))
        }

    @pytest.mark.parametrize("kind", ["cls", "json"])
    def test_webdataset(self, tmp_path, kind):
        def label(i):
            return kind, str(i % 3).encode() if kind == "cls" else json.dumps({"label": NAMES[i % 3]}).encode()

        tar_of(tmp_path / "test-0000.tar", self.shard(range(9, 12), label))
        for part in range(3):
            tar_of(tmp_path / f"train-{part:04d}.tar", self.shard(range(part * 3, part * 3 + 3), label))
        listing, pictures = listed(tmp_path, **({"classes": NAMES} if kind == "cls" else {}))
        assert (listing.layout, listing.classes) == ("webdataset", NAMES)
        assert listing.labels.tolist() == LABELS.tolist()
        assert listing.heldout.tolist() == [False] * 9 + [True] * 3
        np.testing.assert_array_equal(pictures, PIXELS)
        assert listing.left_out == {"files that are no pictures (.txt)": (12, f"{tmp_path}/test-0000.tar/0009.txt")}
        one, _ = listed(tmp_path / "train-0001.tar")
        assert (one.layout, one.heldout, len(one.labels)) == ("webdataset", None, 3)

    def test_a_row_of_webdataset_has_one_picture(self, tmp_path):
        tar_of(tmp_path / "a.tar", {"0.rgb.png": encoded(0), "0.cls": b"1", "1.rgb.png": encoded(1), "1.cls": b"0"})
        assert listed(tmp_path / "a.tar")[0].labels.tolist() == [1, 0]
        tar_of(tmp_path / "b.tar", {"0.input.png": encoded(0), "0.target.png": encoded(1), "0.cls": b"1"})
        with pytest.raises(ValueError, match=r"b\.tar/0 has several pictures \(0\.input\.png, 0\.target\.png\)"):
            listed(tmp_path / "b.tar")
        assert len(listed(tmp_path / "b.tar", layout="flat")[0].labels) == 2

    def test_a_tar_of_folders_is_no_webdataset(self, tmp_path):
        tar_of(tmp_path / "a.tar", {"pets/cat/0.png": encoded(0), "pets/dog/0.png": encoded(1)})
        assert listed(tmp_path / "a.tar")[0].classes == ("cat", "dog")
        with pytest.raises(ValueError, match="tar archives of another layout than WebDataset's"):
            listed(tmp_path)
        captions = {
            f"{name}/{i}.{end}": encoded(0) for name in "ab" for i in range(2) for end in ("png", "txt", "json")
        }
        tar_of(tmp_path / "b.tar", captions)
        assert listed(tmp_path / "b.tar")[0].classes == ("a", "b")


class TestArrays:
    def test_samples_as_openai_keeps_them(self, tmp_path):
        np.savez(tmp_path / "samples.npz", PIXELS, LABELS)
        listing, pictures = listed(tmp_path / "samples.npz", classes=NAMES)
        assert (listing.layout, listing.classes, listing.labels.tolist()) == ("arrays", NAMES, LABELS.tolist())
        np.testing.assert_array_equal(pictures, PIXELS)
        assert listed(tmp_path / "samples.npz", label_column="arr_1")[0].labels.tolist() == LABELS.tolist()
        with pytest.raises(ValueError, match="no array 'kind' for label_column; there is arr_0, arr_1"):
            listed(tmp_path / "samples.npz", label_column="kind")

    @pytest.mark.parametrize("kind", ["U3", "S3"])
    def test_labels_in_words(self, tmp_path, kind):
        np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.array(NAMES, kind)[LABELS])
        listing, _ = listed(tmp_path / "a.npz")
        assert (listing.classes, listing.labels.tolist()) == (NAMES, LABELS.tolist())

    def test_splits_in_the_keys(self, tmp_path):
        gray = PIXELS[..., 0]
        parts = {"test": gray[9:], "train": gray[:6], "val": gray[6:9]}
        labels = {f"{key}_labels": LABELS[: len(part), None].astype(np.uint8) for key, part in parts.items()}
        np.savez_compressed(tmp_path / "a.npz", **{f"{key}_images": part for key, part in parts.items()}, **labels)
        listing, pictures = listed(tmp_path)
        assert listing.heldout.tolist() == [False] * 6 + [True] * 6
        np.testing.assert_array_equal(pictures[:6], gray[:6])
        assert listing.classes == ("0", "1", "2")

    @pytest.mark.parametrize("pixels", [PIXELS, PIXELS.transpose(0, 3, 1, 2), PIXELS[..., :1], PIXELS[..., 0]])
    def test_channels_first_last_or_none(self, tmp_path, pixels):
        np.save(tmp_path / "images.npy", pixels)
        np.save(tmp_path / "labels.npy", LABELS)
        listing, pictures = listed(tmp_path)
        assert listing.labels.tolist() == LABELS.tolist()
        np.testing.assert_array_equal(
            pictures, PIXELS if pixels.shape[-1] == 3 or pixels.shape[1] == 3 else PIXELS[..., 0]
        )

    @pytest.mark.parametrize(
        ("arrays", "words"),
        [
            ({"images": PIXELS / 255}, r"images must be uint8 images.*got float64 \[12, 8, 8, 3\]"),
            ({"a": PIXELS, "b": PIXELS}, "a and .*b are both images. Keep one of them, or call one 'images'"),
            ({"x": PIXELS, "y": LABELS[:5]}, "y must hold one number for each of the 12 images"),
            ({"x": PIXELS, "y": LABELS / 2}, "y must hold whole numbers or words, got float64"),
            ({"x": np.array([None, 1], object)}, "it holds Python objects, which are pickles"),
            ({"x": np.asfortranarray(PIXELS)}, "save np.ascontiguousarray of it"),
            ({"mu": np.zeros(3)}, r"holds arrays that are no images: .*mu is float64 \[3\]\. Images are uint8"),
            ({"x": PIXELS[:0]}, "holds arrays that are no images: a.npz, x is uint8"),
            ({"x": PIXELS, "y": LABELS - 1}, ": 4 of 12 rows have no label"),
            ({"a": PIXELS[0]}, "holds arrays that are no images"),
        ],
    )
    def test_what_is_no_image_says_so(self, tmp_path, arrays, words, monkeypatch):
        np.savez(tmp_path / "a.npz", **arrays)
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ValueError, match=rf"^a\.npz.*{words}"):
            listed("a.npz")

    def test_a_damaged_file_is_named(self, tmp_path):
        np.savez(tmp_path / "a.npz", PIXELS, LABELS)
        content = bytearray((tmp_path / "a.npz").read_bytes())
        content[1000] ^= 1
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz, arr_0 cannot be read: Bad CRC-32"):
            listed(tmp_path / "a.npz")

    def test_a_file_that_ends_early_is_named(self, tmp_path):
        np.save(tmp_path / "a.npy", PIXELS)
        content = (tmp_path / "a.npy").read_bytes()
        (tmp_path / "a.npy").write_bytes(content[:-300])
        with pytest.raises(ValueError, match=r"a\.npy cannot be read: it ends in row 10 of 12"):
            listed(tmp_path / "a.npy")

    @pytest.mark.parametrize("array", [PIXELS, PIXELS.transpose(0, 3, 1, 2), PIXELS[..., 0]])
    def test_images_that_are_too_large_are_refused_before_one_is_read(self, tmp_path, array, monkeypatch):
        np.savez_compressed(tmp_path / "a.npz", images=array)
        source = load_source({"name": "folder", "path": str(tmp_path / "a.npz")})
        monkeypatch.setattr("fewstep.data.decoding.MOST_PIXELS", 63)
        with pytest.raises(ValueError, match=r"a\.npz, images has images of 8 x 8 pixels, and at most 63 can be read"):
            list(source.listing().pictures())

    def test_a_small_file_of_more_rows_than_bytes_is_refused(self, tmp_path):
        np.savez_compressed(tmp_path / "a.npz", images=np.zeros((10**6, 1, 1, 1), np.uint8))
        with pytest.raises(ValueError, match=r"a\.npz, images promises 1,000,000 rows in [0-9,]+ bytes"):
            listed(tmp_path / "a.npz")

    def test_a_file_whose_directory_lies_of_its_size_is_refused(self, tmp_path):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (2**31, 1, 1)})
        with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
            archive.writestr("images.npy", header.getvalue() + PIXELS.tobytes())
            archive.getinfo("images.npy").file_size = 2**32 - 2
        with pytest.raises(ValueError, match=r"a\.npz unpacks to more than 200 times its size"):
            listed(tmp_path / "a.npz")

    def test_what_is_larger_than_memory_says_so(self, tmp_path, monkeypatch):
        def full(*_):
            raise MemoryError

        np.savez(tmp_path / "a.npz", PIXELS)
        monkeypatch.setattr("fewstep.data.layouts.arrays.np.full", full)
        with pytest.raises(ValueError, match="12 images, whose labels are more than memory holds"):
            listed(tmp_path / "a.npz")

    def test_the_largest_number_is_a_label_that_is_refused(self, tmp_path):
        np.savez(tmp_path / "a.npz", images=PIXELS, labels=np.full(12, 2**64 - 1, np.uint64))
        with pytest.raises(ValueError, match=r"labels must hold numbers of classes, got 18,446,744,073,709,551,615"):
            listed(tmp_path / "a.npz")

    @pytest.mark.parametrize("shape", [(10**12, 8, 8, 3), (10**12, 2**40, 2**40, 3), (-1, 8, 8, 3)])
    def test_a_header_that_says_too_much_is_refused_before_memory_is_asked_for(self, tmp_path, shape):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": shape})
        content = header.getvalue() + PIXELS.tobytes()
        put(tmp_path / "a.npy", content)
        with zipfile.ZipFile(tmp_path / "b.npz", "w") as archive:
            archive.writestr("images.npy", content)
        for place in (tmp_path / "a.npy", tmp_path / "b.npz"):
            with pytest.raises(ValueError, match=r"(a\.npy|images) cannot be read: it(s shape is| ends in row)"):
                listed(place)


class TestCifar:
    def binary(self, folder):
        pixels = np.random.RandomState(0).randint(0, 256, (6, 4, 3072)).astype(np.uint8)
        for part, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
            records = np.hstack([np.arange(4, dtype=np.uint8)[:, None], pixels[part]])
            put(folder / f"{name}.bin", records.tobytes())
        put(folder / "batches.meta.txt", b"airplane\nautomobile\nbird\ncat\n")
        return pixels.reshape(24, 3, 32, 32)

    def test_the_binary_version_in_its_archive(self, tmp_path):
        pixels = self.binary(tmp_path / "cifar-10-batches-bin")
        with tarfile.open(tmp_path / "cifar-10-binary.tar.gz", "w:gz") as archive:
            archive.add(tmp_path / "cifar-10-batches-bin", "cifar-10-batches-bin")
        for path in (tmp_path / "cifar-10-binary.tar.gz", tmp_path / "cifar-10-batches-bin"):
            listing, pictures = listed(path)
            assert (listing.layout, listing.classes) == ("cifar", ("airplane", "automobile", "bird", "cat"))
            assert listing.heldout.tolist() == [False] * 20 + [True] * 4
            np.testing.assert_array_equal(np.stack(pictures).transpose(0, 3, 1, 2), pixels)

    def test_pickles_are_opened_by_their_hash_alone(self, tmp_path, monkeypatch):
        from fewstep.support.torchvision_loading import import_torchvision

        import_torchvision()
        from torchvision.datasets import CIFAR10

        names = [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]
        batch = {"data": np.zeros((4, 3072), np.uint8), "labels": [0, 1, 0, 1]}
        for name in names:
            put(tmp_path / name, pickle.dumps(batch))
        put(tmp_path / "batches.meta", pickle.dumps({"label_names": ["airplane", "automobile"]}))
        with pytest.raises(ValueError, match="data_batch_1 is not the file that was published"):
            listed(tmp_path)
        known = {name: hashlib.md5((tmp_path / name).read_bytes()).hexdigest() for name in [*names, "batches.meta"]}
        monkeypatch.setattr(CIFAR10, "train_list", [[name, known[name]] for name in names[:5]])
        monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", known["test_batch"]]])
        monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": known["batches.meta"]})
        listing, _ = listed(tmp_path)
        assert listing.classes == ("airplane", "automobile")
        assert listing.labels.tolist() == [0, 1] * 12


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("data.mdb", "an lmdb, as LSUN comes.*dataset_tool"),
        ("a.tfrecord", "TFRecords"),
        ("a.mat", "MATLAB files.*scipy.io.loadmat"),
        ("a.h5", "HDF5 files"),
        ("data/train-00000.parquet", "Parquet files.*name=parquet, data.source.train='.*/data/train\\*'"),
        ("state/dataset_info.json", "a data set of save_to_disk.*load_from_disk\\('.*/state'\\)"),
        ("train-images-idx3-ubyte.gz", "IDX files, as MNIST comes"),
        ("a.heic", "a format that is not read"),
        ("a.mp4", "videos.*ffmpeg -i '.*/a.mp4'"),
        ("a.csv", "tables.*np.savez"),
        ("a.txt", "hold no picture.*There is one other file"),
    ],
)
def test_a_layout_that_is_not_read_says_how_to_convert_it(tmp_path, file, words):
    put(tmp_path / file, b"x")
    with pytest.raises(ValueError, match=words):
        listed(tmp_path)


def test_the_same_pictures_have_the_same_hash_in_every_layout(tmp_path):
    """Same pixels in the same order, with the same numbers and names of classes."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = {"image": [encoded(i) for i in range(12)], "label": pa.array(LABELS, pa.uint8())}
    pq.write_table(pa.table(table), tmp_path / "train.parquet")
    files = [f"00000/img{i:08d}.png" for i in range(12)]
    pairs = [[file, int(label)] for file, label in zip(files, LABELS, strict=True)]
    put(tmp_path / "edm" / "dataset.json", json.dumps({"labels": pairs}).encode())
    for i, file in enumerate(files):
        put(tmp_path / "edm" / file, encoded(i))
    members = [(f"{i:04d}", i) for i in range(12)]
    shard = {
        f"{key}.{end}": content
        for key, i in members
        for end, content in (("png", encoded(i)), ("cls", b"%d" % LABELS[i]))
    }
    tar_of(tmp_path / "shard.tar", shard)
    np.savez(tmp_path / "a.npz", PIXELS, LABELS)
    sources = [{"name": "parquet", "train": str(tmp_path / "train.parquet")}]
    sources += [{"name": "folder", "path": str(tmp_path / name)} for name in ("edm", "shard.tar", "a.npz")]
    hashes = [ingest({**source, "classes": NAMES}, tmp_path / "out").sha256 for source in sources]
    assert len(set(hashes)) == 1


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("a.heic", b"x", r"a\.heic holds pictures of a format that is not read"),
        ("a.mp4", b"x", r"a\.mp4 holds videos"),
        ("a", encoded(0), r"a must be a folder, a picture .* by its name\. By its content it is a PNG picture"),
        ("a.tar.zst", b"\x28\xb5\x2f\xfd" + bytes(600), "a.tar.zst cannot be read .*a Zstandard archive"),
    ],
)
def test_a_file_that_is_not_read_is_named_and_not_its_folder(tmp_path, monkeypatch, file, content, words):
    put(tmp_path / file, content)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=f"^{words}"):
        listed(file)


@pytest.mark.parametrize("path", ["", " ", "a\0b"])
def test_no_path_is_not_the_folder_one_is_in(path):
    with pytest.raises(ValueError, match="path must be a path, got"):
        load_source({"name": "folder", "path": path})
