"""What a value must be, said once: check_fields(self, learning_rate=above(0), betas=each(within(0, 1))).

A check is a function of a value and of the object that holds it. It returns what the value must be, in words that
follow "must be", or None if that is what it is.
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from fewstep.support.errors import InvalidInput

Check = Callable[[Any, Any], str | None]
End = float | str


def check_fields(owner: Any, **checks: Check) -> None:
    """Raise InvalidInput for the first attribute of the owner that is not what its check says."""
    for field, check in checks.items():
        check_value(field, getattr(owner, field), check, owner)


def check_value(field: str, value: Any, check: Check, owner: Any = None) -> None:
    """Raise InvalidInput, which calls the value `field`, unless it is what the check says."""
    if allowed := check(value, owner):
        raise InvalidInput.of(field, value, allowed)


@dataclass(frozen=True)
class Range:
    """A check of finite numbers. low, high: numbers, or names of other fields; open: ends that do not belong to it."""

    low: End = -math.inf
    high: End = math.inf
    open_low: bool = False
    open_high: bool = False

    def __call__(self, value: Any, owner: Any = None) -> str | None:
        if not isinstance(value, Real) or isinstance(value, bool):
            return "a number"
        try:
            number = float(value)
        except OverflowError:  # a whole number beyond them
            return "finite"
        if not math.isfinite(number):
            return "finite"
        low, high = (getattr(owner, end) if isinstance(end, str) else end for end in (self.low, self.high))
        above = low < number if self.open_low else low <= number
        below = number < high if self.open_high else number <= high
        return None if above and below else self._words(owner)

    def _words(self, owner: Any) -> str:
        low, high = _named(self.low, owner), _named(self.high, owner)
        if self.low != -math.inf and self.high != math.inf and not (self.open_low or self.open_high):
            return f"between {low} and {high}"
        least = "" if self.low == -math.inf else f"{'above' if self.open_low else 'at least'} {low}"
        most = "" if self.high == math.inf else f"{'below' if self.open_high else 'at most'} {high}"
        return " and ".join(filter(None, (least, most)))


def _named(end: End, owner: Any) -> str:
    return f"{end} ({getattr(owner, end)})" if isinstance(end, str) else f"{end:.12g}"


finite = Range()


def above(low: End) -> Range:
    return Range(low, open_low=True)


def at_least(low: End) -> Range:
    return Range(low)


def at_most(high: End) -> Range:
    return Range(high=high)


def below(high: End) -> Range:
    return Range(high=high, open_high=True)


def between(low: End, high: End, open_low: bool = False) -> Range:
    """Both ends belong to it, the low one unless it is open."""
    return Range(low, high, open_low)


def within(low: End, high: End) -> Range:
    """From the low end, which belongs to it, to below the high one."""
    return Range(low, high, open_high=True)


def inside(low: End, high: End) -> Range:
    """Neither end belongs to it."""
    return Range(low, high, open_low=True, open_high=True)


def whole(check: Check = finite) -> Check:
    """A whole number that passes another check."""

    def holds(value: Any, owner: Any = None) -> str | None:
        if not isinstance(value, Integral) or isinstance(value, bool):
            return "a whole number"
        return check(value, owner)

    return holds


def each(check: Check, most: int = 2**16) -> Check:
    """Each item of a list passes the check, and there is one at least. most: items."""

    def holds(value: Any, owner: Any = None) -> str | None:
        if not isinstance(value, list | tuple) or not value:
            return "a list"
        if len(value) > most:
            return f"a list of at most {most}"
        allowed = next(filter(None, (check(item, owner) for item in value)), None)
        return allowed and f"{allowed} each"

    return holds


def distinct(value: Any, _owner: Any = None) -> str | None:
    """A check: a list of different items."""
    return None if len(set(value)) == len(value) else "a list without repetitions"


def up_to(most: float, check: Check) -> Check:
    """What passes the check, and is at most so much: more is a slip. Only the end that is broken is named."""
    highest = at_most(most)
    return lambda value, owner=None: check(value, owner) or highest(value, owner)


def optional(check: Check) -> Check:
    """None, or what passes the check."""
    return lambda value, owner=None: None if value is None else check(value, owner)


def instance_of(kind: type | tuple[type, ...], words: str) -> Check:
    """A value of a type, which the words name: "true or false"."""
    return lambda value, _owner=None: None if isinstance(value, kind) else words


def matches(pattern: str, words: str) -> Check:
    """Text that is of a pattern from its beginning to its end. words: what that is."""
    return lambda value, _owner=None: None if isinstance(value, str) and re.fullmatch(pattern, value) else words


text = instance_of(str, "text")
sha256 = matches("[0-9a-f]{64}", "64 hexadecimal digits")
file_name = matches(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,199}", "a name: no path, not hidden, at most 200 characters")


def one_of(*choices: Any) -> Check:
    names = [str(choice).lower() if isinstance(choice, bool) else repr(choice) for choice in choices]
    words = f"{', '.join(names[:-1])} or {names[-1]}"
    return lambda value, _owner=None: None if value in choices else words


def power_of_two(value: Any, _owner: Any = None) -> str | None:
    """A check: 1, 2, 4, ..."""
    return None if isinstance(value, int) and value > 0 and value.bit_count() == 1 else "a power of two"
