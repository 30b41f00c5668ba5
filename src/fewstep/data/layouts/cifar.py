"""CIFAR's archives as their authors publish them. The Python version holds pickles: only the known files are read."""

import hashlib
import pickle
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fewstep.data.encoded import Listing, Picture
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Naming, number_labels
from fewstep.data.layouts.arrays import pixels_file
from fewstep.support.errors import InvalidInput

NEEDS = "the files of cifar-10-python.tar.gz, cifar-10-binary.tar.gz, or of CIFAR-100's archives"
Batch = tuple[np.ndarray, np.ndarray]  # uint8 [N, 3072] and labels [N]


@dataclass(frozen=True)
class Version:
    """One of the archives. read: a batch of the content of a file. names: the classes, of the content of `classes`."""

    train: tuple[str, ...]
    test: tuple[str, ...]
    classes: str
    read: Callable[[bytes], Batch]
    names: Callable[[bytes], list[str]]
    pickled: str = ""  # the class of torchvision that knows the MD5 of each file

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, *self.test, self.classes)


def _of_records(before: int, content: bytes) -> Batch:
    records = np.frombuffer(content, np.uint8).reshape(-1, before + 3072)
    return records[:, before:], records[:, before - 1].astype(np.int64)


def _of_pickle(key: str, content: bytes) -> Batch:
    facts = pickle.loads(content, encoding="latin1")
    return facts["data"], np.array(facts[key], np.int64)


def _of_lines(content: bytes) -> list[str]:
    return content.decode().split()


def _of_meta(key: str, content: bytes) -> list[str]:
    return pickle.loads(content, encoding="latin1")[key]


FIVE = [f"data_batch_{number}" for number in range(1, 6)]
VERSIONS = (
    Version(tuple(FIVE), ("test_batch",), "batches.meta", partial(_of_pickle, "labels"),
            partial(_of_meta, "label_names"), "CIFAR10"),
    Version(("train",), ("test",), "meta", partial(_of_pickle, "fine_labels"),
            partial(_of_meta, "fine_label_names"), "CIFAR100"),
    Version(tuple(f"{name}.bin" for name in FIVE), ("test_batch.bin",), "batches.meta.txt",
            partial(_of_records, 1), _of_lines),
    Version(("train.bin",), ("test.bin",), "fine_label_names.txt", partial(_of_records, 2), _of_lines),
)  # fmt: skip


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Training pictures, then those for tests, in the order of the files; CIFAR-100 by its 100 fine classes."""
    version = next((version for version in VERSIONS if set(version.files) <= set(tree.files)), None)
    if version is None:
        return None
    if version.pickled:
        _check_known(tree, version)
    sides = [(file, file in version.test) for file in (*version.train, *version.test)]
    parts = [(_batch(tree, version, file)[1], heldout) for file, heldout in sides]
    labels, classes = number_labels(
        np.concatenate([labels for labels, _ in parts]).tolist(),
        naming.classes or version.names(tree.read(version.classes)),
        tree.place,
    )
    held = np.concatenate([np.full(len(labels), heldout) for labels, heldout in parts])

    def pictures() -> Iterator[Picture]:
        for file, _ in sides:
            pixels = _batch(tree, version, file)[0].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
            for row, picture in enumerate(pixels):
                yield f"{tree.name(file)}, row {row}", partial(pixels_file, picture)

    return Listing(pictures, labels, classes, held, left_out=tree.rest(version.files))


def _batch(tree: FileTree, version: Version, file: str) -> Batch:
    try:
        return version.read(tree.read(file))
    except ValueError as error:
        raise InvalidInput(f"{tree.name(file)} is not a file of CIFAR: {error}.") from error


def _check_known(tree: FileTree, version: Version) -> None:
    """Raise ValueError for a file that is not the one that was published: unpickling another could run anything."""
    from fewstep.support.torchvision_loading import import_torchvision

    import_torchvision()
    from torchvision import datasets

    dataset: Any = getattr(datasets, version.pickled)
    known = published_hashes(dataset)
    for file in version.files:
        if hashlib.md5(tree.read(file)).hexdigest() != known[file]:
            raise InvalidInput(
                f"{tree.name(file)} is not the file that was published (its MD5 differs), and no other pickle is read. "
                f"Fetch {dataset.url} again, or take the binary version, which has none."
            )


def published_hashes(dataset: Any) -> dict[str, str]:
    """{file: MD5} of a class of torchvision."""
    return {**dict(dataset.train_list), **dict(dataset.test_list), dataset.meta["filename"]: dataset.meta["md5"]}
