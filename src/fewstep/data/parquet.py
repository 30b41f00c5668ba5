"""Encoded pictures in Parquet files, as on the Hugging Face hub: image struct<bytes, path>, label int64."""

import glob
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewstep.data.encoded import EncodedPictures, Listing, Picture
from fewstep.support.checks import check_fields, instance_of, optional
from fewstep.support.errors import InvalidInput

IMAGE_COLUMNS = ("image", "img")


@dataclass(frozen=True)
class Parquet(EncodedPictures):
    """train, test: a path or pattern, or a list of them; with test files, these are the held-out rows.

    image_column: by default "image" or "img". label_column: by default "label" where there is one. classes: names of
    the labels; by default those in the files' metadata, or else their numbers.
    """

    name: ClassVar[str] = "parquet"
    train: str | Sequence[str]
    test: str | Sequence[str] = ()
    image_column: str | None = None
    label_column: str | None = None
    classes: Sequence[str] = ()

    def __post_init__(self):
        for what in ("train", "test", "classes"):
            given = getattr(self, what)
            words = [given] if isinstance(given, str) else given
            if not isinstance(words, (list, tuple)) or not all(isinstance(word, str) for word in words):
                raise InvalidInput.of(what, given, "a list of strings")
            object.__setattr__(self, what, tuple(words))
        column = optional(instance_of(str, "the name of a column"))
        check_fields(self, image_column=column, label_column=column)
        super().__post_init__()

    def listing(self) -> Listing:
        train, test = _expand("train", self.train), _expand("test", self.test)
        if twice := sorted(set(train) & set(test)):
            raise InvalidInput(f"parquet: {twice[0]} is both a train file and a test file.")
        columns = {path: self._image_column(path) for path in train + test}
        parts = [self._labels(path) for path in train + test]
        count, labels = sum(map(len, parts[: len(train)])), np.concatenate(parts)
        if not count:
            raise InvalidInput(f"parquet: there are no rows in {', '.join(train)}.")
        classes = self._class_names(train[0], labels)
        if labels.max() >= 0 and (labels.min() < 0 or labels.max() >= len(classes)):
            raise InvalidInput(
                f"parquet: labels must be between 0 and {len(classes) - 1}, got {labels.min()} to {labels.max()}."
            )
        return Listing(lambda: _stream(columns), labels, classes, np.arange(len(labels)) >= count if test else None)

    def _image_column(self, path: str) -> str:
        import pyarrow as pa

        schema = _schema(path)
        wanted = IMAGE_COLUMNS if self.image_column is None else (self.image_column,)
        column = next((name for name in wanted if name in schema.names), None)
        if column is None:
            raise InvalidInput(f"{path} has no column {' or '.join(wanted)}; it has {', '.join(schema.names)}.")
        kind = schema.field(column).type
        if not (pa.types.is_struct(kind) and kind.get_field_index("bytes") >= 0):
            raise InvalidInput(f"{path}: the column {column} must be struct<bytes, path>, got {kind}.")
        return column

    def _labels(self, path: str) -> np.ndarray:
        import pyarrow as pa
        import pyarrow.parquet as pq

        schema, column = _schema(path), self.label_column or "label"
        if column not in schema.names:
            if self.label_column is None:
                return np.full(pq.read_metadata(path).num_rows, -1, np.int64)
            raise InvalidInput(f"{path} has no column {column}; it has {', '.join(schema.names)}.")
        if not pa.types.is_integer(schema.field(column).type):
            raise InvalidInput(f"{path}: the column {column} must hold integers, got {schema.field(column).type}.")
        return pq.read_table(path, columns=[column])[column].fill_null(-1).to_numpy().astype(np.int64)

    def _class_names(self, path: str, labels: np.ndarray) -> tuple[str, ...]:
        if labels.max() < 0:
            return ()
        facts = json.loads((_schema(path).metadata or {}).get(b"huggingface", b"{}"))
        feature = facts.get("info", {}).get("features", {}).get(self.label_column or "label", {})
        return tuple(self.classes) or tuple(feature.get("names") or map(str, range(labels.max() + 1)))


def _expand(what: str, patterns: str | Sequence[str]) -> list[str]:
    files: list[str] = []
    for pattern in patterns:
        found = sorted(glob.glob(str(Path(pattern).expanduser()), recursive=True))
        if not found:
            raise InvalidInput(f"parquet: no file matches {pattern!r} ({what}).")
        files += found
    return files


def _schema(path: str):
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(path)
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as a Parquet file ({error}).") from error


def _stream(columns: dict[str, str]) -> Iterator[Picture]:
    import pyarrow.parquet as pq

    for path, column in columns.items():
        row = 0
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(64, columns=[column]):
                for cell in batch.column(0).to_pylist():
                    yield f"{path}, row {row}", partial(_open, cell)
                    row += 1


def _open(cell: dict[str, Any] | None) -> BytesIO:
    if not cell or not cell["bytes"]:
        raise InvalidInput("the row has no bytes")
    return BytesIO(cell["bytes"])
