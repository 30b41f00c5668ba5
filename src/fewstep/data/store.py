"""The array store: the images, or points, that everything behind ingestion reads.

`images.npy` (uint8 [N, C, H, W], or float32 [N, D] for points), `labels.npy` and `store.json`.
"""

import json
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.data.content_hash import content_hash, measure_scale
from fewstep.data.examples import LABELS, LABELS_FILE, Examples, check_labels, split_after
from fewstep.data.space import DataSpace
from fewstep.support.errors import InvalidInput
from fewstep.support.files import replaced_folder

DESCRIPTION, IMAGES = "store.json", "images.npy"
DTYPES = {"images": np.dtype("uint8"), "points": np.dtype("<f4")}


@dataclass(frozen=True)
class ArrayStore(Examples):
    """A store of images or points. source: where they came from."""

    source: dict[str, Any]

    KIND, ROWS, DESCRIPTION, MISSING = "data store", IMAGES, DESCRIPTION, "Ingest the data first."

    @classmethod
    def _read_space(cls, facts: dict[str, Any], folder: Path) -> DataSpace:
        return DataSpace(**facts)

    def _check(self) -> None:
        super()._check()
        source: Any = self.source
        found = source.get("found", {}) if isinstance(source, dict) else None
        kinds = ("converted", "left_out")
        if not isinstance(found, dict) or (found and not all(isinstance(found.get(kind), dict) for kind in kinds)):
            raise InvalidInput("what it says of its source is not as it was written")

    def _rows_fit(self, rows: np.ndarray) -> bool:
        return (rows.dtype, rows.shape) == (DTYPES[self.space.kind], (self.count, *self.space.shape))

    @property
    def hashes(self) -> tuple[str, str | None]:
        return self.sha256, None

    @property
    def mirrored(self) -> bool:
        return True  # each step mirrors them itself

    def images(self, split: str | None = None) -> np.ndarray:
        """Stored values of a split ("train", "heldout"), or of all rows: a read-only map of the file."""
        return self.rows(split)


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
        _write_rows(partial / IMAGES, images, places, (count, *space.shape), dtype, on_progress)
        np.save(partial / LABELS_FILE, np.asarray(labels, LABELS))
        values = np.load(partial / IMAGES, mmap_mode="r")
        space = replace(space, scale=scale or measure_scale(values[:train], sigma_data))
        split = split_after(train, count)
        facts = {
            "space": space.to_dict(),
            "split": split,
            "count": count,
            "sha256": content_hash(values, np.asarray(labels, LABELS), space, split),
            "source": source or {},
        }
        (partial / DESCRIPTION).write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n")
    return ArrayStore.open(folder)


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
