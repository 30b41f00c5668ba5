"""What the figures of a benchmark are held to."""

import sys


class Bounds:
    """Collects what is beyond its bound, so that all of it is told at the end."""

    def __init__(self):
        self.broken: list[str] = []

    def at_most(self, name: str, found: float, most: float) -> None:
        if not found <= most:
            self.broken.append(f"{name}: {found:.4g}, which is to be at most {most:.4g}")

    def at_least(self, name: str, found: float, least: float) -> None:
        if not found >= least:
            self.broken.append(f"{name}: {found:.4g}, which is to be at least {least:.4g}")

    def settle(self) -> None:
        """End with status 1 and the words where anything is."""
        if self.broken:
            sys.exit("\n".join(["beyond the bounds:", *self.broken]))
