"""Hugging Face's image folder: metadata.jsonl, .csv or .parquet says the label of each picture."""

import csv
import io
import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Naming, Value, called_as_labels
from fewstep.data.layouts.listing import list_files
from fewstep.data.layouts.splits import is_heldout
from fewstep.support.errors import InvalidInput, shown
from fewstep.support.json_text import parse_json

NEEDS = "metadata.jsonl, .csv or .parquet with the columns file_name and label"
TABLES = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
FILE = ("file_name", "image_file_name", "filename", "file")


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Pictures in the order of the tables' rows, training first. Each table is of the folder that it is in."""
    tables = [file for file in tree.files if posixpath.basename(file) in TABLES]
    known = set(tree.pictures()) if tables else set[str]()
    rows = [row for table in tables for row in _rows(tree, table, naming, known)]
    if not rows or (all(label is None for _, label in rows) and not naming.unlabelled):
        return None
    rows.sort(key=lambda row: is_heldout(row[0].partition("/")[0]))
    files, labels = [file for file, _ in rows], [label for _, label in rows]
    if twice := next((file for file, times in Counter(files).items() if times > 1), None):
        raise InvalidInput(f"{tree.place}: the metadata name {twice} twice.")
    held = np.array([is_heldout(file.partition("/")[0]) for file in files])
    own_split = held.any() and not held.all()
    return list_files(tree, files, labels, naming.classes, held if own_split else None, tables)


def _rows(tree: FileTree, table: str, naming: Naming, known: set[str]) -> Iterator[tuple[str, Value]]:
    """The path and the label of each picture in a table. known: all pictures that there are."""
    folder, place = posixpath.dirname(table), tree.name(table)
    names, rows = _read_table(tree, table, naming)
    name = _file_column(names)
    if name is None:
        labels = [] if naming.unlabelled else called_as_labels(names)
        if labels:
            raise InvalidInput(
                f"{place} has labels ({labels[0]}) and no column {FILE[0]} that says of which picture; it has "
                f"{', '.join(names)}. Name that column so, or set layout: flat to read without labels."
            )
        return
    column = naming.choose_column(names, place)
    for number, row in enumerate(rows, 1):
        given, label = row.get(name), None if column is None else row.get(column)
        file = posixpath.normpath(posixpath.join(folder, str(given)))
        if file not in known:
            raise InvalidInput(f"{place}, row {number}: there is no picture {given!r}.")
        if not isinstance(label, int | str | None):
            raise InvalidInput(f"{place}, row {number}: {column} must be a whole number or a word, got {shown(label)}.")
        yield file, label


def _file_column(names: list[str]) -> str | None:
    return next((name for name in FILE if name in names), None)


def _read_table(tree: FileTree, table: str, naming: Naming) -> tuple[list[str], list[dict[str, Any]]]:
    """(The names of the columns, the rows); rows of a Parquet file have only those that name pictures and labels."""
    if table.endswith(".parquet"):
        return _of_parquet(tree.read(table), naming, tree.name(table))
    try:
        text = tree.read(table).decode("utf-8-sig")
        if table.endswith(".csv"):
            sign = max(",;\t", key=text.partition("\n")[0].count)
            return _of_csv(text, sign)
        rows = [_object(line, number) for number, line in enumerate(text.split("\n"), 1) if line.strip()]
    except (ValueError, csv.Error) as error:
        raise InvalidInput(f"{tree.name(table)} cannot be read ({error}).") from error
    return list(dict.fromkeys(name for row in rows for name in row)), rows  # a row may lack what others have


def _of_csv(text: str, sign: str) -> tuple[list[str], list[dict[str, Any]]]:
    """sign: between the cells; spaces after it belong to none of them."""
    reader = csv.DictReader(io.StringIO(text), restkey="", delimiter=sign, skipinitialspace=True)
    names = [name.strip() for name in reader.fieldnames or ()]
    reader.fieldnames = names
    rows = _with_numbers(list(reader))
    return names if rows else [], rows


def _of_parquet(content: bytes, naming: Naming, place: str) -> tuple[list[str], list[dict[str, Any]]]:
    import pyarrow.parquet as pq

    from fewstep.data import parquet_cells
    from fewstep.data.table_columns import check_columns, check_labels

    with parquet_cells.naming(place, content), pq.ParquetFile(io.BytesIO(content)) as file:
        parquet_cells.check_rows(file.metadata, len(content), place, "names of pictures")
        check_columns(file.schema_arrow, place)
        names: list[str] = file.schema_arrow.names
        columns: dict[str, list[Value]] = {}
        for name in names:
            if name == _file_column(names):
                columns[name] = parquet_cells.words_of(file, name, place)
            elif naming.column == name or name in called_as_labels(names):
                check_labels(file.schema_arrow, name, place)
                labels = parquet_cells.labels_of(file, name, place)
                columns[name] = labels if isinstance(labels, list) else labels.tolist()
    return names, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _object(line: str, number: int) -> dict[str, Any]:
    try:
        row = parse_json(line)
    except json.JSONDecodeError as error:
        raise InvalidInput(f"line {number}, column {error.colno}: {error.msg}") from error
    if not isinstance(row, dict):
        raise InvalidInput(f"line {number} is no object")
    return row


def _with_numbers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Columns of a CSV in which every cell is a whole number, as numbers."""
    columns = rows[0] if rows else ()
    whole = [name for name in columns if all(re.fullmatch("-?[0-9]{1,9}", str(row.get(name))) for row in rows)]
    return [{**row, **{name: int(row[name]) for name in whole}} for row in rows]
