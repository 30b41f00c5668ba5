"""What a sweep varies, as it is typed: `recipe=ect,cd student.training.learning_rate=1e-4:1e-2:5:log seeds=3`."""

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fewstep.pipelines.params_text import parts, read_params
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

VARIED = ("network", "recipe", "recipes", "student")  # sections of which several values make several students
SEED, SEEDS = "student.seed", "seeds"
MOST = 1000  # trials of a sweep
NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
RANGE = re.compile(rf"({NUMBER}):({NUMBER}):(\d+)(:log)?")
INTERVAL = re.compile(rf"({NUMBER}):({NUMBER})(:log)?")


@dataclass(frozen=True)
class Interval:
    """low, high: its ends. whole: only whole numbers. log: drawn at equal ratios."""

    low: float
    high: float
    whole: bool
    log: bool


@dataclass(frozen=True)
class Axis:
    """A parameter and the values that it takes, as they are typed: 3e-4; the ends of an interval. text: all of them."""

    name: str
    values: tuple[str, ...]
    text: str
    interval: Interval | None = None


def read_axes(words: Sequence[str], drawn: bool = False) -> list[Axis]:
    """The axes of words such as `network.channels=16,32`. `seeds=3` stands for `student.seed=0,1,2`.

    Values are a list with commas between them, or a range from:to:number, with `:log` at equal ratios; where a sampler
    draws them, also an interval from:to. Raises InvalidInput for a word that is none, a parameter that is given twice,
    several values of a parameter that does not belong to the student, and more than MOST combinations.
    """
    axes = [_axis(word) for word in words]
    names = [axis.name for axis in axes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput(f"{twice} is given twice: write all of its values in one list, {twice}=a,b.")
    if (count := math.prod(len(axis.values) for axis in axes)) > MOST:
        raise InvalidInput(f"a sweep must have at most {MOST:,} trials, got {count:,}: leave values out.")
    if not drawn and (axis := next((axis for axis in axes if axis.interval), None)):
        raise InvalidInput(
            f"{axis.name}={axis.text} is an interval, from which a sampler draws values: add --sampler tpe, or the "
            f"number of values at equal distances ({axis.name}={axis.values[0]}:{axis.values[1]}:3)."
        )
    return axes


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """{name: value as it is typed} of every trial; the last axis changes first."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.name for axis in axes), values, strict=True))


def corners(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """Each value of each axis, and each end of an interval, with the first values of the others."""
    first = {axis.name: axis.values[0] for axis in axes}
    yield first
    for axis in axes:
        yield from ({**first, axis.name: value} for value in axis.values[1:])


def params_of(values: dict[str, str]) -> dict[str, Any]:
    """Values as they are typed -> what --params would give."""
    return read_params(",".join(f"{name}={value}" for name, value in values.items()))


def _axis(word: str) -> Axis:
    name, sign, text = word.partition("=")
    if not sign or not name or not text.strip():
        raise InvalidInput(f"a sweep takes name=value, or several values with commas between them, got {word!r}.")
    if name == SEEDS:
        values = tuple(map(str, range(_count(text))))
        return Axis(SEED, values, ",".join(values))
    if found := INTERVAL.fullmatch(text):
        check_name("parameter to vary", name.partition(".")[0], VARIED)
        return Axis(name, (found[1], found[2]), text, _interval(name, found))
    values = tuple(each for part in parts(text) for each in _values(name, part))
    if "" in values or text.rstrip().endswith(","):
        raise InvalidInput(f"{name} has an empty value between its commas, got {text!r}.")
    if len(values) > 1:
        check_name("parameter to vary", name.partition(".")[0], [*VARIED, SEEDS])
    if len(set(values)) < len(values):
        raise InvalidInput(f"{name} must have different values, got {text!r}.")
    return Axis(name, values, ",".join(values))


def _interval(name: str, found: re.Match[str]) -> Interval:
    low, high, log = float(found[1]), float(found[2]), bool(found[3])
    if low >= high:
        raise InvalidInput(f"the interval of {name} must begin below its end, got {found[0]!r}.")
    if log and low <= 0:
        raise InvalidInput(f"the interval of {name} at equal ratios must begin above 0, got {found[0]!r}.")
    whole = all(re.fullmatch(r"[+-]?\d+", end) for end in found.group(1, 2))
    return Interval(low, high, whole, log)


def _count(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise InvalidInput.of(SEEDS, text, f"a whole number between 1 and {MOST:,}")
    return int(text)


def _values(name: str, text: str) -> list[str]:
    """The values of a range, or the one that the text is."""
    if not (found := RANGE.fullmatch(text)):
        return [text]
    low, high, count, log = float(found[1]), float(found[2]), int(found[3]), bool(found[4])
    if not 2 <= count <= MOST:
        raise InvalidInput(f"the range of {name} must have between 2 and {MOST:,} values, got {text!r}.")
    if log and not (low > 0 and high > 0):
        raise InvalidInput(f"the ends of a range of {name} at equal ratios must be above 0, got {text!r}.")
    ways = (each / (count - 1) for each in range(count))
    return [f"{low * (high / low) ** way if log else low + (high - low) * way:.6g}" for way in ways]
