"""What every source of data says before any row of it is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np

from fewstep.support.names import printable

Report = Callable[[int, int], None]
Found = dict[str, tuple[int, str]]  # {a kind, in words: (how many, the name of one)}


@dataclass(frozen=True)
class Findings:
    """What a person wants to know of a source beside its rows.

    layout: how the source is laid out. sizes: of the pictures before they are cropped and resized. converted: pictures
    that were changed, by what was done. left_out: what is there and is not among the rows. skipped: the names of all
    broken pictures, which are a kind of what is left out.
    """

    layout: str = ""
    sizes: str = ""
    converted: Found = field(default_factory=dict)
    left_out: Found = field(default_factory=dict)
    skipped: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON in UTF-8, which not every name of a file is."""
        kinds = {
            key: {kind: [count, printable(example)] for kind, (count, example) in getattr(self, key).items()}
            for key in ("converted", "left_out")
        }
        words = {key: printable(getattr(self, key)) for key in ("layout", "sizes")}
        return {**words, **kinds, "skipped": [printable(name) for name in self.skipped]}


@dataclass(frozen=True)
class Survey:
    """What a source holds, found by looking at all of it.

    rows: a function that streams the stored values, uint8 [C, H, W] or float32 [D], in the order of labels.
    labels: int64 [N], -1 without labels. heldout: bool [N], the source's own split if it has one.
    checked: pictures read.
    """

    kind: str
    shape: tuple[int, ...]
    labels: np.ndarray
    rows: Callable[[], Iterator[np.ndarray]]
    classes: tuple[str, ...] = ()
    heldout: np.ndarray | None = None
    findings: Findings = field(default_factory=Findings)
    checked: int = 0


class Source(Protocol):
    """A frozen dataclass of parameters, which it checks when it is made.

    shape: of a row; None where only the data can tell.
    """

    name: ClassVar[str]

    @property
    def shape(self) -> tuple[int, ...] | None: ...

    def survey(self, report: Report) -> Survey:
        """Look at everything, and raise ValueError for what cannot be used. report(done, total) while it reads."""
        ...
