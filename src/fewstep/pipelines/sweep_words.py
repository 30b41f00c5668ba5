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


@dataclass(frozen=True)
class Axis:
    """A parameter and the values that it takes, as they are typed: 3e-4."""

    name: str
    values: tuple[str, ...]


def read_axes(words: Sequence[str]) -> list[Axis]:
    """The axes of words such as `network.channels=16,32`. `seeds=3` stands for `student.seed=0,1,2`.

    Values are a list with commas between them, or a range from:to:number, with `:log` at equal ratios. Raises
    InvalidInput for a word that is none, a parameter that is given twice, several values of a parameter that does not
    belong to the student, and more than MOST combinations.
    """
    axes = [_axis(word) for word in words]
    names = [axis.name for axis in axes]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InvalidInput(f"{twice} is given twice: write all of its values in one list, {twice}=a,b.")
    if (count := math.prod(len(axis.values) for axis in axes)) > MOST:
        raise InvalidInput(f"a sweep must have at most {MOST:,} trials, got {count:,}: leave values out.")
    return axes


def combinations(axes: Sequence[Axis]) -> Iterator[dict[str, str]]:
    """{name: value as it is typed} of every trial; the last axis changes first."""
    for values in itertools.product(*(axis.values for axis in axes)):
        yield dict(zip((axis.name for axis in axes), values, strict=True))


def params_of(values: dict[str, str]) -> dict[str, Any]:
    """Values as they are typed -> what --params would give."""
    return read_params(",".join(f"{name}={value}" for name, value in values.items()))


def _axis(word: str) -> Axis:
    name, sign, text = word.partition("=")
    if not sign or not name or not text.strip():
        raise InvalidInput(f"a sweep takes name=value, or several values with commas between them, got {word!r}.")
    if name == SEEDS:
        return Axis(SEED, tuple(map(str, range(_count(text)))))
    values = tuple(each for part in parts(text) for each in _values(name, part))
    if "" in values or text.rstrip().endswith(","):
        raise InvalidInput(f"{name} has an empty value between its commas, got {text!r}.")
    if len(values) > 1:
        check_name("parameter to vary", name.partition(".")[0], [*VARIED, SEEDS])
    if len(set(values)) < len(values):
        raise InvalidInput(f"{name} must have different values, got {text!r}.")
    return Axis(name, values)


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
