"""Classes by their names and numbers, as a person writes and reads them."""

from collections.abc import Sequence

from fewstep.support.errors import InvalidInput, shown
from fewstep.support.names import nearest

SHOWN, ENDS, SMALLEST = 20, 3, 5  # classes in a list: as many at most, else so many at each end, and the smallest


def class_number(given: object, classes: Sequence[str]) -> int:
    """The number of a class that is given by its name, by its number, or as the word #number.

    Raises InvalidInput, with the nearest name and a list of the classes, where there is no such class, and where a word
    is the name of one class and the number of another.
    """
    number = _number(given)
    counted = [number] if number is not None and 0 <= number < len(classes) else []
    if counted and (not isinstance(given, str) or given.startswith("#")):
        return counted[0]
    meant = sorted({*counted, *(place for place, name in enumerate(classes) if name == given)})
    if len(meant) == 1:
        return meant[0]
    if meant:
        ways = " or ".join(f"#{place} for {classes[place]!r}" for place in meant)
        raise InvalidInput(f"label {given!r} can mean {len(meant)} classes: write {ways}.")
    allowed = "the name or the number of a class"
    raise InvalidInput(
        f"label must be {allowed}, got {shown(given)}.{_nearest(given, classes)} Classes: {class_list(classes)}.",
        field="label",
        value=given,
        allowed=allowed,
    )


def class_list(classes: Sequence[str], places: Sequence[int] | None = None) -> str:
    """Numbers and names of the first of some classes, by default of all, and how many more there are."""
    places = range(len(classes)) if places is None else places
    words = ", ".join(numbered(place, classes) for place in places[:SHOWN])
    return f"{words} and {len(places) - SHOWN:,} more" if len(places) > SHOWN else words


def class_counts(classes: Sequence[str], counts: Sequence[int]) -> str:
    """How many rows each class has: of many classes those at both ends, and the smallest."""

    def words(places: Sequence[int]) -> str:
        return ", ".join(f"{numbered(place, classes)} ({counts[place]:,})" for place in places)

    total = len(classes)
    if total <= SHOWN:
        return words(range(total))
    ends = f"{words(range(ENDS))} ... {words(range(total - ENDS, total))}"
    return f"{ends}; the smallest: {words(sorted(range(total), key=lambda place: counts[place])[:SMALLEST])}"


def numbered(number: int, classes: Sequence[str]) -> str:
    """ "3 cat", or "3" of a class that is called so."""
    name = classes[number]
    return name if name == str(number) else f"{number} {name}"


def _number(given: object) -> int | None:
    """The number that is given, whether or not there is such a class."""
    if not isinstance(given, str):
        return given if isinstance(given, int) and not isinstance(given, bool) else None
    digits = given.removeprefix("#")
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 10 else None


def _nearest(given: object, classes: Sequence[str]) -> str:
    """A question after the class whose name has this word in it, or is spelt much like it."""
    word, names = str(given).lower(), [name.lower() for name in classes]
    holding = sorted((name for name in names if word in name), key=len)
    near = None if isinstance(given, int) else next(iter(holding), None) or nearest(word, names)
    return f" Did you mean {numbered(names.index(near), classes)}?" if near else ""
