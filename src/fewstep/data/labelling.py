"""Labels as sources have them, numbers or words, and the classes that they come to."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fewstep.support.errors import InvalidInput, shown
from fewstep.support.names import printable

COLUMNS = ("label", "labels", "class", "class_label", "class_name", "cls", "category", "target")
LONGER = re.compile("(.+_)?(label|labels|class|category)(_(id|idx|index|number|name))?")  # fine_label, category_id
NONE = "none"  # in place of a column: read without labels
Value = int | str | None


@dataclass(frozen=True)
class Naming:
    """What a user says of labels: the column or key that holds them, and the names of the classes."""

    column: str | None = None
    classes: tuple[str, ...] = ()

    @property
    def unlabelled(self) -> bool:
        return self.column == NONE

    def choose_column(self, names: Iterable[str], place: str) -> str | None:
        """The column of labels among these: the one that was asked for, or the only one that is called so, or None."""
        names = list(names)
        if self.unlabelled:
            return None
        if self.column is not None:
            if self.column not in names:
                raise InvalidInput(f"{place} has no label column {self.column!r}; it has {', '.join(names)}.")
            return self.column
        return the_only(called_as_labels(names), place)


def called_as_labels(names: Iterable[str]) -> list[str]:
    """Those that are called as columns of labels are, "Label" among them, the most usual first; else longer names."""
    names = list(names)
    found = [name for name in names if name.lower() in COLUMNS]
    usual = sorted(found, key=lambda name: COLUMNS.index(name.lower()))
    return usual or [name for name in names if LONGER.fullmatch(name.lower())]


def the_only(candidates: Sequence[str], place: str) -> str | None:
    """The column of labels, None where there is none. Raises ValueError that names the candidates of several."""
    if len(candidates) > 1 and candidates[0].lower() != "label":
        shown = f"{', '.join(candidates[:-1])} or {candidates[-1]}"
        raise InvalidInput(f"{place} has several columns of labels. Set label_column: {shown} ({NONE}: no labels).")
    return candidates[0] if candidates else None


def tuple_of_strings(field: str, given: object) -> tuple[str, ...]:
    """The strings of a parameter that may be one string or a list of them."""
    words = [given] if isinstance(given, str) else given
    if not isinstance(words, list | tuple) or not all(isinstance(word, str) for word in words):
        raise InvalidInput.of(field, given, "a list of strings")
    return tuple(words)


def natural_order(names: Iterable[str]) -> list[str]:
    """Sorted names, their digits as numbers: 0, 1, 2, 10."""

    def key(name: str) -> tuple[list[str | tuple[int, str]], str]:
        parts = re.split("([0-9]+)", name)
        return [magnitude(part) if place % 2 else part for place, part in enumerate(parts)], name

    def magnitude(digits: str) -> tuple[int, str]:  # not the number itself: Python reads none of 5,000 digits
        significant = digits.lstrip("0")
        return len(significant), significant

    return sorted(names, key=key)


def number_labels(values: Sequence[Value], classes: Sequence[str], place: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """(int64 [N], names of the classes) of labels that are all numbers or all words; None or -1 throughout: no labels.

    classes: names that are known, of the numbers in turn; by default numbers are called after themselves, and words
    are classes in natural order. Raises ValueError for labels beyond the classes, or that only some rows have.
    """
    values = [None if value == "" else _in_words(value) for value in values]
    present = [value for value in values if value is not None]
    words = [value for value in present if isinstance(value, str)]
    if words and len(words) < len(present):
        raise InvalidInput(f"{place}: labels must be all numbers or all words, got both.")
    if words:
        classes = tuple(classes) or natural_order(set(words))
        check_class_names(classes, place)
        numbers = {name: number for number, name in enumerate(classes)}
        if unknown := next((word for word in words if word not in numbers), None):
            raise InvalidInput(f"{place}: the label {unknown!r} is none of the classes: {short(classes)}.")
        values = [None if value is None else numbers[str(value)] for value in values]
    limits = np.iinfo(np.int64)
    if huge := next((value for value in values if isinstance(value, int) and not limits.min <= value <= limits.max), 0):
        raise InvalidInput(f"{place}: labels must be the numbers of classes, from 0 on, got {shown(huge)}.")
    labels = np.array([-1 if value is None else value for value in values], np.int64)
    return check_numbers(labels, classes, place)


def join_labels(
    parts: Sequence[np.ndarray | list[Value]], classes: Sequence[str], place: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels of several files, numbers or words, as number_labels gives them."""
    numbers = [part for part in parts if isinstance(part, np.ndarray)]
    if len(numbers) == len(parts):
        return check_numbers(np.concatenate(numbers), classes, place)
    values: list[Value] = []
    for part in parts:
        values += part if isinstance(part, list) else [None if number < 0 else int(number) for number in part]
    return number_labels(values, classes, place)


def check_numbers(labels: np.ndarray, classes: Sequence[str], place: str) -> tuple[np.ndarray, tuple[str, ...]]:
    """The labels, and names for all of them; no names where all labels are -1. Raises ValueError as number_labels."""
    if not len(labels) or labels.max() < 0:
        return np.full(len(labels), -1, np.int64), ()
    most = len(classes) if classes else 1000 + 10 * len(labels)
    if labels.min() < 0 and labels.max() < most:
        raise InvalidInput(
            f"{place}: {(labels < 0).sum():,} of {len(labels):,} rows have no label. Give all rows one, leave these "
            f"rows out, or set label_column: {NONE}."
        )
    if labels.min() < 0 or labels.max() >= most:
        known = f" (the classes are {short(classes)})" if classes else ""
        raise InvalidInput(
            f"{place}: labels must be between 0 and {most - 1:,}{known}, got {labels.min():,} to {labels.max():,}."
        )
    check_class_names(classes, place)
    return labels.astype(np.int64), tuple(classes) or tuple(map(str, range(labels.max() + 1)))


def check_class_names(classes: Iterable[str], place: str) -> None:
    """Raise ValueError for a name that two classes have, or that could not be written with the data: no UTF-8 text."""
    classes = list(classes)
    if twice := next((name for name, times in Counter(classes).items() if times > 1), None):
        raise InvalidInput(f"{place}: two classes have the name {twice!r}. Set classes: a name of its own for each.")
    for name in classes:
        if printable(name) != name:
            kind = "not UTF-8" if any("\ud800" <= sign <= "\udfff" for sign in name) else "no text that can be shown"
            raise InvalidInput(f"{place}: the name of the class {name!r} is {kind}. Rename it.")


def _in_words(value: Value) -> Value:
    """True and false as words, which they are in a table of words too."""
    return str(value).lower() if isinstance(value, bool) else value


def short(classes: Sequence[str]) -> str:
    """The first of some names, in words."""
    return ", ".join(classes[:20]) + (f" and {len(classes) - 20:,} more" if len(classes) > 20 else "")
