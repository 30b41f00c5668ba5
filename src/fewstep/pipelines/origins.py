"""Which file, or --params, each parameter has its value from."""

import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from fewstep.config.merging import NAMES
from fewstep.config.parameters import Parameters, to_json
from fewstep.config.recipe_schema import NOISE
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.yaml_files import lines_of

DEFAULT, PARAMS = "default", "--params"
ELSEWHERE = ("students", "env")  # other recipes; what was asked for
DERIVED = (*(("objective", name) for name in NOISE), ("preconditioning", "boundary"))  # from the noise of a recipe
NAMED = ("name",)  # a recipe, by its section


@dataclass(frozen=True, eq=False)
class Marked:
    """A value with its origin. Merging compares names, so a marked value equals its value."""

    value: Any
    origin: str

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if isinstance(other, Marked) else other)

    def __hash__(self) -> int:
        return hash(self.value)

    def __str__(self) -> str:
        return str(self.value)


class MarkingLoader(RecipeConfigLoader):
    """Reads and merges the configuration as a run does, with each value marked by its origin."""

    @classmethod
    def like(cls, loader: RecipeConfigLoader) -> "MarkingLoader":
        """One for the configuration of another loader."""
        names = ("conf_source", "env", "runtime_params", "base_env", "default_run_env", "merge_strategy")
        return cls(**{name: getattr(loader, name) for name in names})

    def _noted(self, values: dict[str, Any], files: Iterable[Path]) -> dict[str, Any]:
        last_first = [Path(os.path.relpath(file)) for file in reversed(list(files))]
        return {name: _marked(value, (str(name),), last_first) for name, value in values.items()}

    def origins(self) -> dict[str, Any]:
        """The tree of parameters, with marked values."""
        marked = self._merge_parameters()
        names = {name: self._of_globals(name, marked[name]) for name in NAMES if name in marked}
        return {**self["parameters"], **names}

    def _of_globals(self, name: str, marked: Marked) -> Marked:
        """A name that a parameter takes from the globals has their origin."""
        if marked.origin == PARAMS:
            return marked
        file, _, line = marked.origin.rpartition(":")
        if "${globals:" not in Path(file).read_text().splitlines()[int(line) - 1]:
            return marked
        folders = (self.env or self.default_run_env, self.base_env)
        files = [Path(os.path.relpath(self.conf_source), str(folder), "globals.yml") for folder in folders]
        return Marked(marked.value, _place([file for file in files if file.is_file()], (name,)))


def resolved(parameters: Parameters, origins: Mapping[str, Any]) -> Iterator[tuple[str, Any, str]]:
    """(name, value, origin) of each parameter of a run. origins: as MarkingLoader has them."""
    for place, value in _leaves(to_json(parameters)):
        inside = tuple(itertools.dropwhile(lambda part: part == "earlier", place[1:]))  # of a recipe
        if place[0] not in ELSEWHERE and inside not in (*DERIVED, NAMED):
            yield ".".join(place), value, _origin(origins, place)


def _marked(value: Any, place: tuple[str, ...], files: list[Path]) -> Any:
    if isinstance(value, dict):
        return {name: _marked(below, (*place, str(name)), files) for name, below in value.items()}
    return None if value is None else Marked(value, _place(files, place) if files else PARAMS)


def _place(files: Iterable[Path], place: tuple[str, ...]) -> str:
    """The first of the files that has a value at a place, or the section that holds it, with the line."""
    parts = (place[:end] for end in range(len(place), -1, -1))
    return next(f"{file}:{lines[part]}" for part in parts for file in files if part in (lines := _lines(file)))


@cache
def _lines(file: Path) -> dict[tuple[str, ...], int]:
    return lines_of(file)


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, Mapping) and value:
        for name, below in value.items():
            yield from _leaves(below, (*place, str(name)))
    else:
        yield place, value


def _origin(origins: Any, place: tuple[str, ...]) -> str:
    """The origin of a value, or of the section that holds it."""
    for name in place:
        if not isinstance(origins, Mapping):
            break
        origins = next((below for known, below in origins.items() if str(known) == name), None)
    return origins.origin if isinstance(origins, Marked) else DEFAULT
