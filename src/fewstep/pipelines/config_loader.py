"""Kedro's configuration with our rules of merging, and parameters that are checked and typed once."""

import os
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, cast

from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from kedro.io import CatalogProtocol
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException, UnsupportedInterpolationType

from fewstep.config.merging import NAMES, chosen, overlaid
from fewstep.config.parameters import Parameters, check_given, checked
from fewstep.pipelines.yaml_files import check_file, lines_of, load_file
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

STUDENTS = "params:students."
WITHIN = "globals cannot refer to ${globals:...}, themselves; write the value, or ${name} for another of the same file"


class RecipeConfigLoader(OmegaConfigLoader):
    """An unknown env, recipe or parameter is an error in words; recipe and dataset have one value for every reader."""

    READ: ClassVar[dict[tuple[tuple[str, bytes], ...], list[Any]]] = {}
    """Files of parameters and what they hold: parsing takes longest, and a comparison has a loader for each recipe."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any):
        if not (source := Path(conf_source)).is_dir():
            raise InvalidInput(f"there is no folder of the configuration {source}: go to the project's folder.")
        folders = [p.name for p in source.iterdir() if p.is_dir()]
        check_name("--env", env or "local", {*folders, "local"})
        super().__init__(conf_source, env=env, **kwargs)

    def __getitem__(self, key: str) -> dict[str, Any]:
        # OmegaConf's resolvers are the process's: where there are several loaders, the last one made would answer for
        # all of them. Kedro registers that of --params anew here, and that of globals when a loader is made.
        self._register_globals_resolver()
        if key not in ("parameters", "catalog"):
            return super().__getitem__(key)
        merged = self._merged  # by which globals have their names, of which the catalog makes paths
        if key == "catalog":
            return super().__getitem__(key)
        return chosen(merged) if "recipes" in merged else merged

    @cached_property
    def _merged(self) -> dict[str, Any]:
        """The parameters of all files with --params over them.

        Wherever these NAMES are given, in globals, parameters or --params, the last word is that of the parameters.
        `${globals:dataset}` and the others are these from then on, in parameters and catalog.
        """
        config = self._merge_parameters()
        names = {name: _as_name(name, config[name]) for name in NAMES if name in config}
        if not names.items() <= self["globals"].items():
            self["globals"], self._globals_oc = {**self["globals"], **names}, None
            config = self._merge_parameters()
        return {**config, **names, "env": self.env or self.default_run_env}

    def _merge_parameters(self) -> dict[str, Any]:
        given = self.runtime_params or {}
        check_given(given)
        return overlaid(super().__getitem__("parameters"), self._noted(given, ()))

    @cached_property
    def parameters(self) -> Parameters:
        """Every parameter, checked. Raises ValueError that names each one that is wrong."""
        return checked(self["parameters"])

    def recipes(self) -> list[str]:
        """The students there are."""
        return sorted(self._merged["recipes"])

    # Kedro has no public way to say how files are read and merged, and of both methods that follow one rule alone.
    def _read_dir_configs(  # pyright: ignore[reportIncompatibleMethodOverride] (the rest is Kedro's own)
        self, conf_path: str, patterns: Iterable[str], key: str, processed_files: set[Path], *rest: Any
    ) -> dict[Path, Any]:
        """The files of one folder. A missing conf/local says nothing, as an empty one does."""
        if not Path(conf_path).is_dir():
            return {}
        found = {Path(str(path)) for pattern in patterns for path in self._fs.glob(f"{conf_path}/{pattern}")}
        files = sorted(filter(self._is_valid_config_path, found))
        contents = tuple((os.path.relpath(file, conf_path), file.read_bytes()) for file in files)
        if key == "parameters" and contents in self.READ:
            processed_files.update(files)
            return dict(zip(files, self.READ[contents], strict=True))
        for file in files:
            check_file(Path(os.path.relpath(file)))
        try:
            read = super()._read_dir_configs(conf_path, patterns, key, processed_files, *rest)
        except (ValueError, OmegaConfBaseException) as problem:
            for file in files:  # says which one it is
                load_file(Path(os.path.relpath(file)))
            # Kedro's, in words: two files say the same
            raise InvalidInput(str(problem)) from problem
        if key == "parameters":  # all others are changed by those who merge them
            check_kinds(read)
            self.READ[contents] = [read[file] for file in files]
        return read

    def _merge_and_resolve(self, key: str, config_per_file: dict[Path, Any]) -> dict[str, Any]:
        """Files of one folder; --params come last, over all folders, by our own rule."""
        try:
            if key != "parameters":
                return super()._merge_and_resolve(key, config_per_file)
            together = OmegaConf.merge(*config_per_file.values()) if config_per_file else OmegaConf.create()
            found = cast(dict[str, Any], OmegaConf.to_container(together, resolve=True))
        except (OmegaConfBaseException, UnsupportedInterpolationType) as problem:
            if key == "globals" and "'_globals'" in str(problem):  # which Kedro has only when they are read
                raise InvalidInput(_explain(problem, config_per_file, WITHIN)) from None
            raise InvalidInput(_explain(problem, config_per_file)) from problem
        check_given(found)
        return self._noted(found, config_per_file)

    def _noted(self, values: dict[str, Any], files: Iterable[Path]) -> dict[str, Any]:
        """Parameters before they are merged, for a loader that notes where they come from. No files: --params."""
        return values

    @staticmethod
    def _soft_merge(config: dict, env_config: dict, env_path: str | None = None) -> dict[str, Any]:
        return overlaid(config, env_config)


def check_kinds(config_per_file: Mapping[Path, Any]) -> None:
    """Raise ValueError where files of one folder have a value and a section of one name: Kedro lets the later one win,
    and only tells of two values.
    """
    sections: dict[str, Path] = {}
    values: dict[str, Path] = {}
    for file, config in config_per_file.items():
        _sort(OmegaConf.to_container(config), "", file, sections, values)
    for name in values.keys() & sections.keys():
        line = lines_of(values[name]).get(tuple(name.split(".")))
        where = f"{os.path.relpath(values[name])}, line {line}" if line else os.path.relpath(values[name])
        raise InvalidInput(f"{where}: {name} is a value, and a section in {os.path.relpath(sections[name])}.")


def _sort(found: Any, name: str, file: Path, sections: dict[str, Path], values: dict[str, Path]) -> None:
    """Put the names of what was found in a file to sections or to values; null is neither, and takes a name away."""
    if isinstance(found, dict):
        for key, value in cast(dict[Any, Any], found).items():
            _sort(value, f"{name}.{key}" if name else str(key), file, sections, values)
        if name:
            sections.setdefault(name, file)
    elif found is not None:
        values.setdefault(name, file)


def _as_name(name: str, value: Any) -> str:
    """A name as text. Raises ValueError for what YAML read as another value, and so perhaps not as it was written."""
    if isinstance(value, bool | float):
        raise InvalidInput(f"{name} must be a name, and YAML reads this one as {value}: put it in quotes.")
    return str(value)


def _explain(problem: Exception, files: Iterable[Path], said: str = "") -> str:
    """What OmegaConf says of a value, with its place. said: better words for it."""
    said = said or str(problem).partition("\n")[0].rstrip(".")
    names = str(getattr(problem, "full_key", None) or "").split(".")
    for file in map(Path, files):
        if line := lines_of(file).get(tuple(names)):
            return f"{os.path.relpath(file)}, line {line}: {'.'.join(names)} cannot be made out: {said}."
    return f"the configuration cannot be made out: {said}."


class Context(KedroContext):
    """Kedro's context, whose parameters are the typed sections themselves, so that nodes get them as they are."""

    config_loader: RecipeConfigLoader  # pyright: ignore[reportIncompatibleVariableOverride] (as settings.py says)

    @property
    def typed(self) -> Parameters:
        """Every parameter."""
        return self.config_loader.parameters

    @property
    def params(self) -> dict[str, Any]:
        """{name of a section: the section}."""
        return dict(self.typed)

    @cached_property
    def catalog(self) -> CatalogProtocol:  # pyright: ignore[reportIncompatibleMethodOverride] (Kedro makes one each time)
        """The datasets of the project."""
        return self._get_catalog()

    # Kedro has no public way to say which parameters a catalog has.
    def _get_parameters(self) -> dict[str, Any]:
        """As Kedro has them, but nothing of what is inside a student of `students`: that would be a thousand more."""
        found = super()._get_parameters()
        return {name: value for name, value in found.items() if not name.startswith(STUDENTS) or name.count(".") == 1}
