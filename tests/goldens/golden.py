"""Golden files: the numbers of a part, and the versions for which they were written."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

TOLERANCE = 1e-6  # relative, in float64: processors differ by less


@dataclass(frozen=True)
class Golden:
    """The golden file of a part. parts: every part, those below it first.

    version_of, place_of: a part's integer, and where it stands. compute: (part, specs) -> {name: numbers}. specs: of
    the recipes that a file without any begins with.
    """

    part: str
    folder: Path
    parts: list[str]
    version_of: Callable[[str], int]
    place_of: Callable[[str], str]
    compute: Callable[[str, dict], dict]
    specs: dict

    @property
    def file(self) -> Path:
        return self.folder / f"{self.part}.json"

    def versions(self) -> dict[str, int]:
        """The version of the part and of those below it, now."""
        own = self.parts.index(self.part)
        methods = [part for part in self.parts[:own] if "objectives/" in self.place_of(part)]
        return {part: self.version_of(part) for part in self.parts[: own + 1] if part not in methods}

    def problem(self) -> str | None:
        """What is wrong between the file and the code, and what to do about it; None if nothing is."""
        write = f"python tests/goldens/write.py {self.part}"
        if not self.file.exists():
            return f"{self.part} has no golden file: {write}"
        known, versions = json.loads(self.file.read_text()), self.versions()
        specs = {**self.specs, **known["recipes"]}
        numbers = self.compute(self.part, specs)
        moved = _moved(known["numbers"], numbers)
        if moved and set(moved) <= numbers.keys() - known["numbers"].keys():
            return f"The golden file of {self.part} has no numbers of {', '.join(moved[:4])} yet: {write}"
        raised = known["versions"].get(self.part) != versions[self.part]
        if raised and not moved:
            return (
                f"{self.place_of(self.part)} is {versions[self.part]}, and the numbers are those of version "
                f"{known['versions'].get(self.part)}: put it back, no training needs to be made again."
            )
        if moved and known["versions"] == versions:
            return (
                f"The numbers of {self.part} moved ({', '.join(moved[:4])}). If a part below it failed too, begin "
                f"there. Else, if this is meant, raise {self.place_of(self.part)} to {versions[self.part] + 1}, then: "
                f"{write}"
            )
        if moved or known["versions"] != versions:
            return f"The golden file of {self.part} is of older versions: {write}"
        return None

    def write(self) -> str:
        """Write the file anew; returns what was done. Raises ValueError where an integer must change first."""
        problem = self.problem()
        if problem is None:
            return f"{self.part}: nothing to write"
        if "write.py" not in problem or "raise " in problem:
            raise ValueError(problem)
        recipes = {**self.specs, **(json.loads(self.file.read_text())["recipes"] if self.file.exists() else {})}
        facts = {"versions": self.versions(), "recipes": recipes, "numbers": self.compute(self.part, recipes)}
        self.file.write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n")
        return f"{self.part}: written"


def _moved(known: dict, now: dict) -> list[str]:
    """Names of the numbers that differ."""

    def same(a: list[float], b: list[float]) -> bool:
        scale = max(map(abs, [*a, *b, 1e-3]))
        near = (math.isclose(x, y, rel_tol=TOLERANCE, abs_tol=TOLERANCE * scale) for x, y in zip(a, b, strict=False))
        return len(a) == len(b) and all(near)

    return sorted(name for name in known.keys() | now.keys() if not same(known.get(name, []), now.get(name, [])))
