"""What every source of data says before any row of it is stored."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np

Report = Callable[[int, int], None]


@dataclass(frozen=True)
class Survey:
    """What a source holds, found by looking at all of it.

    rows: a function that streams the stored values, uint8 [C, H, W] or float32 [D], in the order of labels.
    labels: int64 [N], -1 without labels. heldout: bool [N], the source's own split if it has one.
    converted: how many pictures were changed, by what was done. skipped: names of broken ones. checked: pictures read.
    """

    kind: str
    shape: tuple[int, ...]
    labels: np.ndarray
    rows: Callable[[], Iterator[np.ndarray]]
    classes: tuple[str, ...] = ()
    heldout: np.ndarray | None = None
    converted: dict[str, int] = field(default_factory=dict)
    skipped: tuple[str, ...] = ()
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
