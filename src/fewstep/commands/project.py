"""The project of the working folder, as Kedro has it, and the files and models that commands name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from fewstep import load
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.pipelines.config_loader import Context


def catalogs_of(env: str | None, recipe: str | None) -> list:
    """The catalog of each recipe, or of the one that was asked for."""
    recipes = [recipe] if recipe else context_of(env).config_loader.recipes()
    return [context_of(env, name).catalog for name in recipes]


def context_of(env: str | None, recipe: str | None = None, runtime: dict | None = None) -> "Context":
    """Kedro's context, of the configured recipe if none is named. runtime: what --params would give."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.utils import is_kedro_project

    from fewstep.pipelines.config_loader import Context

    if not is_kedro_project(Path.cwd()):
        raise InvalidInput(f"{Path.cwd()} is not a project (no pyproject.toml names it): go to the project's folder.")
    bootstrap_project(Path.cwd())

    runtime = {**(runtime or {}), **({"recipe": recipe} if recipe else {})}
    session = KedroSession.create(Path.cwd(), env=env, runtime_params=runtime)
    with session:
        context = session.load_context()
    assert isinstance(context, Context)  # settings.py says so
    return context


def place_of(catalog, name: str) -> Path:
    """Where a dataset lies, from here."""
    from fewstep.pipelines.datasets import filepath_of

    return Path(os.path.relpath(filepath_of(catalog, name)))


def command_of(pipelines: str | None = None, env: str | None = None) -> str:
    """The command that runs pipelines, by default the whole journey, in the configuration that was asked for."""
    overlay = f"--env={env}" if env not in (None, "base", "local") else ""
    return " ".join(filter(None, ["kedro run", overlay, pipelines and f"--pipelines={pipelines}"]))


def needed(catalog, name: str, env: str | None, by: str):
    """What ingest makes under a name; ValueError with its command where it is not there. by: as "scores need"."""
    if not catalog.exists(name):
        raise InvalidInput(f"{by} {name}, and there is no {place_of(catalog, name)}: run {command_of('ingest', env)}")
    return catalog.load(name)


def check_folder(file: Path) -> None:
    """Raise ValueError if a file that is to be written has no folder to lie in."""
    if not file.parent.is_dir():
        raise InvalidInput(f"there is no folder {file.parent} to write {file.name} to: make it, or name another place.")


def model_of(place: str):
    """A registered model, or that of a folder, on the best device there is."""
    return load(place)
