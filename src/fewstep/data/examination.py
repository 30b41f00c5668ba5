"""What was seen while every picture was examined."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from fewstep.data.source import Findings, Found

BROKEN = "pictures that cannot be read"
Sight = tuple[str, tuple[int, int]]  # a picture's name, and its (width, height)


@dataclass
class Examination:
    """Pictures one after the other. count: how many there will be. keep: bool [count], those that can be stored."""

    count: int
    done: int = 0
    first: Sight | None = None  # that can be read
    smallest: Sight | None = None
    largest: Sight | None = None
    skipped: list[str] = field(default_factory=list)
    notes: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.keep = np.ones(self.count, bool)

    def add(self, name: str, size: tuple[int, int] | None, notes: Sequence[str]) -> None:
        """The next picture. size: None for a broken one. notes: what has to be converted."""
        self.done += 1
        if size is None:
            self.keep[self.done - 1] = False
            self.skipped.append(name)
            return
        self.notes.update(notes)
        for note in notes:
            self.examples.setdefault(note, name)
        seen = name, size
        self.first = self.first or seen
        self.smallest = min(self.smallest or seen, seen, key=_area)
        self.largest = max(self.largest or seen, seen, key=_area)

    def findings(self, layout: str, left_out: Found) -> Findings:
        """For people. layout, left_out: as the source's listing has them."""
        broken: Found = {BROKEN: (len(self.skipped), self.skipped[0])} if self.skipped else {}
        converted = {note: (self.notes[note], self.examples[note]) for note in sorted(self.notes)}
        return Findings(layout, self._sizes(), converted, {**left_out, **broken}, tuple(self.skipped))

    def _sizes(self) -> str:
        """In words."""
        if self.smallest is None or self.largest is None:
            return ""
        (small, least), (large, most) = self.smallest, self.largest
        if least == most:
            return f"{_words(least)} each"
        return f"from {_words(least)} ({small}) to {_words(most)} ({large})"


def mixed_sizes(first: Sight, other: Sight) -> str:
    """Why pictures of two sizes make no store."""
    sizes = ", ".join(f"{name} is {_words(size)}" for name, size in (first, other))
    return f"The pictures are of several sizes: {sizes}. Set a resolution to crop and resize them all."


def _area(seen: Sight) -> int:
    return seen[1][0] * seen[1][1]


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"
