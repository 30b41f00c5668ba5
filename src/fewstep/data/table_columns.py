"""Which columns of a Parquet file hold pictures and labels: their kinds and the file's own metadata decide."""

from collections import Counter
from typing import Any

import pyarrow as pa

from fewstep.data.formats import SUFFIXES
from fewstep.data.labelling import NONE, Naming, called_as_labels, the_only
from fewstep.support.errors import InvalidInput, shown
from fewstep.support.json_text import parse_json

IMAGES = ("image", "img", *(suffix[1:] for suffix in SUFFIXES))  # img2dataset calls its column jpg, png or webp


def image_column(schema: pa.Schema, wanted: str | None, place: str) -> str:
    """The column of pictures. Raises ValueError with the candidates where there are none or several."""
    if wanted is not None:
        _check_there(schema, wanted, place)
        if not holds_pictures(schema.field(wanted).type):
            kind = schema.field(wanted).type
            raise InvalidInput(
                f"{place}: the column {wanted} must hold pictures, as bytes or struct<bytes, path>, got {kind}."
            )
        return wanted
    fitting = [name for name in schema.names if holds_pictures(schema.field(name).type)]
    declared = [name for name, feature in features(schema).items() if feature.get("_type") == "Image"]
    structs = [name for name in fitting if pa.types.is_struct(_values(schema.field(name).type))]
    for candidates in (declared, [name for name in IMAGES if name in fitting][:1], structs, fitting):
        found = [name for name in candidates if name in fitting]
        if len(found) > 1 and found is not fitting and (usual := [name for name in IMAGES if name in found]):
            found = usual[:1]
        if len(found) > 1:
            raise InvalidInput(f"{place} has several columns of pictures. Set image_column: {' or '.join(found)}.")
        if found:
            return found[0]
    raise InvalidInput(
        f"{place} has no column of pictures (bytes, or struct<bytes, path>); it has "
        f"{', '.join(f'{field.name} ({field.type})' for field in schema)}. Paths are not followed: write the files "
        "themselves into the column, or give the folder of pictures as data.source.name=folder."
    )


def label_column(schema: pa.Schema, naming: Naming, place: str) -> str | None:
    """The column of labels, None where there is none. Raises ValueError with the candidates where there are several."""
    if naming.unlabelled and naming.column not in schema.names:
        return None
    if naming.column is not None:
        _check_there(schema, naming.column, place)
        check_labels(schema, naming.column, place)
        return naming.column
    fitting = [name for name in schema.names if holds_labels(schema.field(name).type)]
    declared = [name for name, feature in features(schema).items() if feature.get("_type") == "ClassLabel"]
    called = called_as_labels(fitting)
    candidates = [name for name in declared if name in fitting]
    for name in called_as_labels(schema.names) if not (candidates or called) else ():
        if not holds_pictures(schema.field(name).type):
            check_labels(schema, name, place)  # it is called as labels are, and cannot be read as such
    return the_only(["label"] if "label" in called else candidates or called, place)


def class_names(schema: pa.Schema, column: str, place: str) -> tuple[str, ...]:
    """Names of the numbers in a column of labels, by the file's own metadata; none where it has none.

    Raises ValueError where they have names in another form.
    """
    given: Any = features(schema).get(column, {}).get("names") or []
    names = given
    if isinstance(given, dict):  # {"0": "cat"}, as in a README
        names = [given.get(str(number)) for number in range(len(given))]
    if not isinstance(names, list) or not all(isinstance(name, str) and name for name in names):
        raise InvalidInput(
            f"{place}: its metadata must name the classes of the column {column} as a list of words, or as an object "
            f'with the keys "0", "1" and so on, got {shown(given)}. Set classes to the names of 0, 1 and so on.'
        )
    return tuple(map(str, names))


def check_columns(schema: pa.Schema, place: str) -> None:
    """Raise ValueError where two columns have one name, by which neither can be read."""
    if twice := next((name for name, times in Counter(schema.names).items() if times > 1), None):
        raise InvalidInput(f"{place} has several columns called {twice}. Rename or remove all but one of them.")


def features(schema: pa.Schema) -> dict[str, dict[str, Any]]:
    """What the Hugging Face metadata of a file say of its columns; nothing where there are none, or no JSON."""
    try:
        facts = parse_json((schema.metadata or {}).get(b"huggingface", b"{}"))
        found = facts["info"]["features"]
        return {name: feature for name, feature in found.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def holds_pictures(kind: pa.DataType) -> bool:
    """Whether a column can hold files of pictures: bytes, or a struct that has them."""
    values = _values(kind)
    if pa.types.is_struct(values):
        place = values.get_field_index("bytes")
        return place >= 0 and _is_bytes(values.field(place).type)
    return _is_bytes(values)


def holds_labels(kind: pa.DataType) -> bool:
    """Whether a column can hold labels: whole numbers, words, true and false, or nothing at all."""
    values, types = _values(kind), pa.types
    return any(is_kind(values) for is_kind in (types.is_integer, types.is_boolean, types.is_null)) or is_text(values)


def check_labels(schema: pa.Schema, column: str, place: str) -> None:
    """Raise ValueError unless a column can hold labels. place: of the file, in messages."""
    kind = schema.field(column).type
    if not holds_labels(kind):
        raise InvalidInput(
            f"{place}: the column {column} must hold whole numbers or words, one for each row, got {kind}. Convert it, "
            f"name another as label_column, or set label_column: {NONE} to read without labels."
        )


def is_text(kind: pa.DataType) -> bool:
    """Whether values are strings of any width."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view()


def _is_bytes(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or kind == pa.binary_view()


def _values(kind: pa.DataType) -> pa.DataType:
    """The kind of the values of a column, whether they stand in a dictionary or not."""
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _check_there(schema: pa.Schema, column: str, place: str) -> None:
    if column not in schema.names:
        raise InvalidInput(f"{place} has no column {column}; it has {', '.join(schema.names)}.")
