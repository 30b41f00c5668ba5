"""The cells of a Parquet file's columns, a few rows at a time: a small file can promise more than memory holds."""

from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fewstep.data.labelling import Value
from fewstep.data.table_columns import is_text
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import HEAD, PARQUET, file_kind, kind_of_file

AT_ONCE = 2**28  # bytes in memory, where a column of a row group has that many
MOST_ROWS = 2**16
LONGEST_WORD = 2**12  # bytes of a label, or of a file's name


@contextmanager
def naming(place: str, content: bytes | None = None) -> Generator[None]:
    """What goes wrong while a file is read comes out with its name, and with what the file is instead.

    content: of a file that is in an archive, and so is not at that path.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        kind = kind_of_file(Path(place)) if content is None else file_kind(content[:HEAD])
        reason = f"it is {kind}" if kind and kind != PARQUET else str(error)
        raise InvalidInput(f"{place} cannot be read as a Parquet file ({reason}).") from error


def check_rows(metadata: pq.FileMetaData, size: int, place: str, what: str) -> None:
    """Raise ValueError for a file of more rows than bytes. what: it does not hold then.

    A column of one value takes nearly nothing, however long it is; rows that differ take more than a byte.
    """
    if metadata.num_rows > size:
        promise = f"{metadata.num_rows:,} rows in {size:,} bytes"
        raise InvalidInput(f"{place} promises {promise}, so they are not all {what}.")


def cells_of(file: pq.ParquetFile, column: str, most_rows: int = MOST_ROWS) -> Iterator[pa.Array]:
    """A column in parts of a few rows. No value has more bytes than its column in its row group, however often it is
    repeated.
    """
    for group in range(file.num_row_groups):
        facts = file.metadata.row_group(group)
        chunks = [facts.column(number) for number in range(facts.num_columns)]
        size = sum(c.total_uncompressed_size for c in chunks if c.path_in_schema.partition(".")[0] == column)
        rows = min(most_rows, max(1, AT_ONCE // max(1, size)))
        for batch in file.iter_batches(rows, row_groups=[group], columns=[column]):
            yield batch.column(0)


def labels_of(file: pq.ParquetFile, column: str, place: str) -> np.ndarray | list[Value]:
    """Labels: int64 [N], -1 for a row without one, or words. Raises ValueError for numbers that are no labels."""
    kind = file.schema_arrow.field(column).type
    values = kind.value_type if pa.types.is_dictionary(kind) else kind
    if pa.types.is_boolean(values) or is_text(values):
        return words_of(file, column, place)
    parts = [cells.cast(values) if kind != values else cells for cells in cells_of(file, column)]
    try:
        numbers = [part.cast(pa.int64()).fill_null(-1).to_numpy(zero_copy_only=False) for part in parts]
    except pa.ArrowInvalid as error:
        raise InvalidInput(f"{place}: the column {column} holds numbers that are no labels ({error}).") from error
    return np.concatenate([*numbers, np.empty(0, np.int64)])


def words_of(file: pq.ParquetFile, column: str, place: str) -> list[Value]:
    """Words, None where there is none; the same word is the same object. Raises ValueError for long ones."""
    kind = file.schema_arrow.field(column).type
    if not (pa.types.is_boolean(kind) or is_text(kind.value_type if pa.types.is_dictionary(kind) else kind)):
        raise InvalidInput(f"{place}: the column {column} must hold words, got {kind}.")
    words: dict[str | None, str | None] = {}
    found: list[Value] = []
    for cells in cells_of(file, column):
        cells = cells.cast(pa.string())
        longest = max(pc.call_function("binary_length", [cells]).drop_null().to_pylist(), default=0)
        if longest > LONGEST_WORD:
            wanted = f"words of at most {LONGEST_WORD:,} bytes"
            raise InvalidInput(f"{place}: the column {column} must hold {wanted}, got one of {longest:,}.")
        found += [words.setdefault(word, word) for word in cells.to_pylist()]
    return found
