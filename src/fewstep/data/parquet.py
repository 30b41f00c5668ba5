"""Encoded pictures in Parquet files, as on the Hugging Face hub: a column of pictures, and one of labels."""

import glob
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

from fewstep.data.encoded import EncodedPictures, Listing, Picture
from fewstep.data.labelling import Naming, Value, join_labels, short, tuple_of_strings
from fewstep.data.layouts.splits import is_heldout, split_of
from fewstep.support.checks import between, check_fields, instance_of, optional, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.files import home_path

ROWS = 16  # that are in memory at once


@dataclass(frozen=True)
class Parquet(EncodedPictures):
    """train, test: a path, a pattern or a folder, or a list of them; with test files, these are the held-out rows.

    Without `test`, files of a folder or pattern whose names say so (test-00000-of-00001.parquet) are held out.

    image_column, label_column: by default those that the kinds of the columns and the files' metadata tell; "none" in
    place of a label column reads without labels. classes: names of the labels; by default those in the metadata, or
    else their numbers; words are classes by themselves. most_bytes: of an encoded picture.
    """

    name: ClassVar[str] = "parquet"
    train: str | Sequence[str]
    test: str | Sequence[str] = ()
    image_column: str | None = None
    label_column: str | None = None
    classes: Sequence[str] = ()
    most_bytes: int = 2**25

    def __post_init__(self):
        for field in ("train", "test", "classes"):
            object.__setattr__(self, field, tuple_of_strings(field, getattr(self, field)))
        column = optional(instance_of(str, "the name of a column"))
        check_fields(self, image_column=column, label_column=column)
        check_fields(self, most_bytes=whole(between(1, 2**30)))
        super().__post_init__()

    def listing(self) -> Listing:
        from fewstep.data import table_columns

        train, test = self._files()
        _check_each_once(train, test)
        schemas = {path: _schema(path) for path in train + test}
        images = {path: table_columns.image_column(schemas[path], self.image_column, path) for path in schemas}
        naming = Naming(self.label_column, tuple(self.classes))
        columns = {path: table_columns.label_column(schemas[path], naming, path) for path in schemas}
        parts = [_labels(path, columns[path]) for path in schemas]
        counts = [len(part) for part in parts]
        if not sum(counts[: len(train)]):
            raise InvalidInput(f"parquet: there are no rows in {', '.join(train)}.")
        column = columns[train[0]]
        labels, classes = join_labels(parts, naming.classes or _known_classes(schemas, columns), "parquet")
        held = np.arange(len(labels)) >= sum(counts[: len(train)])
        used = {images[train[0]], column}
        return Listing(
            lambda: _stream(images, self.most_bytes),
            labels,
            classes,
            held if test else None,
            f"parquet, pictures in {images[train[0]]}, {f'labels in {column}' if column else 'no labels'}",
            _left_out([name for name in schemas[train[0]].names if name not in used]),
        )

    def _files(self) -> tuple[list[str], list[str]]:
        train, test = _expand("train", self.train), _expand("test", self.test)
        if test:
            return train, test
        heldout = [path for path in train if path not in self.train and _says_heldout(Path(path))]
        rest = [path for path in train if path not in heldout]
        return (rest, heldout) if rest else (train, [])


def _says_heldout(path: Path) -> bool:
    """Whether the name of a file, or else of its folder, says that it is not for training."""
    return is_heldout(split_of(path.name) or split_of(path.parent.name) or "")


def _expand(what: str, patterns: str | Sequence[str]) -> list[str]:
    files: list[str] = []
    if "" in patterns or not (patterns or what == "test"):
        raise InvalidInput(f"parquet: {what} must be a path or a pattern, or a list of them, and not empty.")
    for pattern in patterns:
        place = home_path(pattern)
        found = sorted(glob.glob(str(place / "**/*.parquet" if place.is_dir() else place), recursive=True))
        if not found and place.is_dir():
            raise InvalidInput(f"parquet: the folder {pattern!r} ({what}) holds no file called *.parquet.")
        if not found:
            raise InvalidInput(f"parquet: no file matches {pattern!r} ({what}).")
        files += found
    return files


def _check_each_once(train: list[str], test: list[str]) -> None:
    places = {path: os.path.realpath(path) for path in train + test}
    both = {places[path] for path in train} & {places[path] for path in test}
    if path := next((path for path in train if places[path] in both), None):
        raise InvalidInput(f"parquet: {path} is both a train file and a test file.")
    times = Counter(places[path] for path in train + test)
    if path := next((path for path in train + test if times[places[path]] > 1), None):
        raise InvalidInput(f"parquet: {path} is named twice. Name each file once.")


def _schema(path: str) -> Any:
    import pyarrow.parquet as pq

    from fewstep.data.parquet_cells import check_rows, naming
    from fewstep.data.table_columns import check_columns

    with naming(path):
        found = pq.read_metadata(path)
        check_rows(found, os.path.getsize(path), path, "pictures")
        schema = found.schema.to_arrow_schema()
    check_columns(schema, path)
    return schema


def _labels(path: str, column: str | None) -> np.ndarray | list[Value]:
    """The labels in a file: int64 [N], -1 where it has none, or words."""
    import pyarrow.parquet as pq

    from fewstep.data.parquet_cells import labels_of, naming

    with naming(path), pq.ParquetFile(path) as file:
        return np.full(file.metadata.num_rows, -1, np.int64) if column is None else labels_of(file, column, path)


def _known_classes(schemas: dict[str, Any], columns: dict[str, str | None]) -> tuple[str, ...]:
    """The classes that the files' own metadata name. Raises ValueError where two files name them differently."""
    from fewstep.data.table_columns import class_names

    named = {path: class_names(schemas[path], column, path) for path, column in columns.items() if column}
    found = {classes: path for path, classes in named.items() if classes}
    if len(found) > 1:
        (one, first), (other, second), *_ = found.items()
        raise InvalidInput(
            f"{first} and {second} number the classes differently ({short(one)}; {short(other)}). Give both the same "
            "numbers, or set classes if the numbers mean the same in both."
        )
    return next(iter(found), ())


def _left_out(columns: list[str]) -> dict[str, tuple[int, str]]:
    return {"columns that are not read": (len(columns), columns[0])} if columns else {}


def _stream(columns: dict[str, str], most_bytes: int) -> Iterator[Picture]:
    import pyarrow.parquet as pq

    from fewstep.data.parquet_cells import cells_of, naming

    for path, column in columns.items():
        row = 0
        with naming(path), pq.ParquetFile(path) as file:
            for cells in cells_of(file, column, ROWS):
                _check_sizes(cells, path, row, most_bytes)
                for cell in cells.to_pylist():
                    yield f"{path}, row {row}", partial(_open, cell)
                    row += 1


def _check_sizes(cells: Any, path: str, row: int, most_bytes: int) -> None:
    """Raise ValueError for a picture of too many bytes, of which a small file can hold many. row: of the first."""
    import pyarrow as pa
    import pyarrow.compute as pc

    content = cells.field("bytes") if pa.types.is_struct(cells.type) else cells
    distinct = content.dictionary if pa.types.is_dictionary(content.type) else content
    plain = distinct.cast(pa.binary()) if distinct.type == pa.binary_view() else distinct  # of a view it has no length
    sizes = pc.call_function("binary_length", [plain])
    if distinct is not content:
        sizes = sizes.take(content.indices)
    for number, size in enumerate(sizes.to_pylist()):
        if (size or 0) > most_bytes:
            raise InvalidInput(
                f"{path}, row {row + number} has {size:,} bytes, and at most {most_bytes:,} are read: make the picture "
                "smaller, or set most_bytes."
            )


def _open(cell: dict[str, Any] | bytes | None) -> IO[bytes]:
    content = cell["bytes"] if isinstance(cell, dict) else cell
    if not content:
        raise InvalidInput("the row has no bytes")
    return BytesIO(content)
