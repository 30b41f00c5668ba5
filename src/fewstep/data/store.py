"""The array store: a folder of memory-mapped arrays that everything behind ingestion reads.

`images.npy` (uint8 [N, C, H, W], or float32 [N, D] for points), `labels.npy` (int64 [N], -1 without labels) and
`store.json`. Rows of a split stand together, training first, in random order: any first n rows are a fair sample.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.data.content_hash import content_hash, measure_scale
from fewstep.data.file_tree import DAMAGED
from fewstep.data.space import DataSpace
from fewstep.data.verification import remember, seen_before
from fewstep.support.checks import at_least, check_fields, sha256, whole
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import replaced_folder, restore_replaced
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name

DESCRIPTION = "store.json"
FILES = ("images.npy", "labels.npy", DESCRIPTION)
DTYPES, LABELS = {"images": np.dtype("uint8"), "points": np.dtype("<f4")}, np.dtype("<i8")
AGAIN = "Restore it (dvc checkout), or ingest the data again."


@dataclass(frozen=True)
class ArrayStore:
    """A store on disk. Arrays are mapped anew by each call, so that a store can be sent to another process."""

    folder: Path
    space: DataSpace
    count: int
    split: dict[str, list[int]]
    sha256: str
    source: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> "ArrayStore":
        """The store in a folder. Raises ValueError if there is none or its files do not belong together.

        Whether its content is what was written, `verify` says.
        """
        folder = Path(folder)
        restore_replaced(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InvalidInput(f"There is no data store in {folder} ({DESCRIPTION} is missing). Ingest the data first.")
        try:
            facts = parse_json((folder / DESCRIPTION).read_text())
            store = cls(folder, DataSpace(**facts.pop("space")), **facts)
            store._check()
        except (*DAMAGED, TypeError, LookupError, AttributeError) as error:
            raise InvalidInput(f"The data store in {folder} is damaged ({reason_of(error)}). {AGAIN}") from error
        return store

    def _check(self) -> None:
        """Raise ValueError for a description that is none, and for arrays unlike it."""
        images, labels = self._array("images"), self._array("labels")
        check_fields(self, count=whole(at_least(1)), sha256=sha256)
        for array, dtype, shape in ((images, DTYPES[self.space.kind], self.space.shape), (labels, LABELS, ())):
            if (array.dtype, array.shape) != (dtype, (self.count, *shape)):
                raise InvalidInput(f"arrays unlike {DESCRIPTION}")
        train = self.split["train"][1]
        if self.split != split_after(train, self.count) or not 0 < train <= self.count:
            wanted = "its rows must be split into the first ones for training and the rest held out"
            raise InvalidInput(f"{wanted}, got {self.split}")
        check_labels(labels, self.space)

    @property
    def images_sha256(self) -> str:
        """The hash of the images."""
        return self.sha256

    @property
    def latents_sha256(self) -> None:
        """None: models see the images themselves."""

    @property
    def mirrored(self) -> bool:
        """Whether mirrored images can be asked for: each step mirrors them itself."""
        return True

    def rows(self, split: str | None = None) -> np.ndarray:
        """What models are trained on: the images."""
        return self.images(split)

    def images(self, split: str | None = None) -> np.ndarray:
        """Stored values of a split ("train", "heldout"), or of all rows: a read-only map of the file."""
        return self._array("images")[self._rows(split)]

    def labels(self, split: str | None = None) -> np.ndarray:
        """Labels of a split, or of all rows, int64; -1 for a row without a label."""
        return self._array("labels")[self._rows(split)]

    def verify(self, in_full: bool = False) -> None:
        """Raise ValueError if the content is not what was written.

        Files that look as they did when they were last read in full are not read again, unless `in_full` is asked for.
        """
        if not in_full and seen_before(self.folder, FILES, self.sha256):
            return
        found = content_hash(self.images(), self.labels(), self.space, self.split)
        if found != self.sha256:
            raise InvalidInput(
                f"The data store in {self.folder} was changed after it was written: its hash is {found}, not "
                f"{self.sha256}. {AGAIN}"
            )
        remember(self.folder, FILES, self.sha256)

    def _rows(self, split: str | None) -> slice:
        return slice(None) if split is None else slice(*self.split[check_name("split", split, self.split)])

    def _array(self, name: str) -> np.ndarray:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


def write_store(
    folder: str | Path,
    images: Iterable[np.ndarray],
    labels: np.ndarray,
    space: DataSpace,
    *,
    train: int,
    positions: np.ndarray | None = None,
    sigma_data: float = 0.5,
    scale: float | None = None,
    source: dict[str, Any] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> ArrayStore:
    """Write a store, whole or not at all; an older one in the folder is replaced at the end.

    images: rows as they come, an array or a stream. labels: [N] of the stored rows. train: the first rows that are for
    training. positions: [N] where each row that comes is stored; by default in turn. space: its scale is measured here,
    from the training rows, unless it is given. Raises ValueError for rows unlike the space, OSError (ENOSPC) for a full
    disk.
    """
    folder, count = Path(folder), len(labels)
    if not 0 < train <= count:
        raise InvalidInput(f"train must be between 1 and the number of rows ({count}), got {train}.")
    check_labels(labels, space)
    dtype = DTYPES[space.kind]
    needed = count * (dtype.itemsize * int(np.prod(space.shape)) + 8) + 2**16
    with replaced_folder(folder, DESCRIPTION, needed) as partial:
        places = range(count) if positions is None else positions
        _write_rows(partial / "images.npy", images, places, (count, *space.shape), dtype, on_progress)
        np.save(partial / "labels.npy", np.asarray(labels, "<i8"))
        values = np.load(partial / "images.npy", mmap_mode="r")
        space = replace(space, scale=scale or measure_scale(values[:train], sigma_data))
        split = split_after(train, count)
        facts = {
            "space": space.to_dict(),
            "split": split,
            "count": count,
            "sha256": content_hash(values, np.asarray(labels, "<i8"), space, split),
            "source": source or {},
        }
        (partial / DESCRIPTION).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return ArrayStore.open(folder)


def split_after(train: int, count: int) -> dict[str, list[int]]:
    """The rows of each split, when the first `train` are for training."""
    return {"train": [0, train], "heldout": [train, count]}


def check_labels(labels: np.ndarray, space: DataSpace) -> None:
    """Raise ValueError for a label that is no class of the space, nor -1."""
    if labels.min() < -1 or labels.max() >= len(space.classes):
        raise InvalidInput(
            f"labels must be between -1 (none) and {len(space.classes) - 1}, got {labels.min()} to {labels.max()}."
        )


def _write_rows(
    path: Path,
    images: Iterable[np.ndarray],
    positions: Iterable[int],
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    on_progress: Callable[[int, int], None] | None,
) -> None:
    """Write rows to their places by plain writes: a full disk raises, where with a memory map it kills the process."""
    with open(path, "wb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        start, size = file.tell(), dtype.itemsize * int(np.prod(shape[1:]))
        for done, (row, position) in enumerate(zip(images, positions, strict=True), 1):
            row = np.asarray(row)
            if row.shape != shape[1:] or row.dtype != dtype:
                raise InvalidInput(f"row {done - 1} must be {dtype} {shape[1:]}, got {row.dtype} {row.shape}.")
            file.seek(start + int(position) * size)
            file.write(row.tobytes())
            if on_progress:
                on_progress(done, shape[0])
        file.flush()
        os.fsync(file.fileno())
