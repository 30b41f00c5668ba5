"""Progress for people: a bar in a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager


class Lines:
    """Plain lines: one each tenth of the way or half a minute, and one at the end.

    What is left is told from the second report on: a run that is taken up has a part of its way behind it.
    """

    def __init__(self, title: str):
        self.title = title
        self.first: tuple[float, float] | None = None
        self.spoke_at, self.spoke_of = time.monotonic(), 0.0

    def __call__(self, done: float, total: float, note: str = "") -> None:
        now, fraction = time.monotonic(), done / max(total, 1)
        self.first = self.first or (now, fraction)
        if fraction < self.spoke_of + 0.1 and now < self.spoke_at + 30 and (fraction < 1 or self.spoke_of >= 1):
            return
        self.spoke_at, self.spoke_of = now, fraction
        began, start = self.first
        left = f"{(now - began) * (1 - fraction) / (fraction - start):.0f} s left" if fraction > start else ""
        print(", ".join(filter(None, (f"{self.title}: {fraction:4.0%}", left, note))), flush=True)


@contextmanager
def progress_bar(title: str) -> Generator[Callable[..., None]]:
    """A function of (done, total, note) that shows how far a long step is."""
    if not sys.stdout.isatty():
        yield Lines(title)
        return
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
    with Progress(*columns, TimeRemainingColumn(), TextColumn("{task.fields[note]}")) as bar:
        task = bar.add_task(title, total=None, note="")
        yield lambda done, total, note="": bar.update(task, completed=done, total=total, note=note)
        if bar.tasks[0].total is None:
            bar.remove_task(task)  # there was nothing to do
