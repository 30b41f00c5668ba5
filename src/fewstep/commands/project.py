"""The project of the working folder, as Kedro has it, and the files and models that commands name."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fewstep import load
from fewstep.config.merging import may_be_trial
from fewstep.pipelines.places import command_of, place_of
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.features import Extractor
    from fewstep.models.model import Model
    from fewstep.pipelines.config_loader import Context

LONGEST = 200  # bytes of a file's name: partial files have longer ones


def contexts_of(
    env: str | None, recipe: str | None, dataset: str | None = None, *, trials_with: str = "student"
) -> "list[Context]":
    """Kedro's context of the recipe that was asked for; or of the configured one, and of others that made something.

    These are other recipes, and the trials that have a dataset: `trials_with`.
    """
    first = context_of(env, recipe, dataset=dataset)
    if recipe:
        return [first]
    folders = place_of(first.catalog, "student"), place_of(first.catalog, "scores").parent
    others = [name for name in first.config_loader.recipes() if name != first.typed.recipe]
    made = [name for name in others if any(folder.with_name(name).exists() for folder in folders)]
    trials = [context_of(env, runtime={"trial": name}, dataset=dataset) for name in trials_of(first, trials_with)]
    return [first, *(context_of(env, name, dataset=dataset) for name in made), *trials]


def trials_of(context: "Context", name: str) -> list[str]:
    """The trials (--params=trial=NAME, and those of sweeps) that have this dataset; the context's own is left out."""
    from fewstep.models.description import DESCRIPTION

    own, place = context.typed.trial or context.typed.recipe, place_of(context.catalog, name)
    file = place if place.suffix else place / DESCRIPTION
    above, _, below = file.as_posix().rpartition(f"/{own}/")
    found = [each.as_posix() for depth in ("*", "*/*") for each in Path(above).glob(f"{depth}/{below}")]
    names = {each.removeprefix(f"{above}/").removesuffix(f"/{below}") for each in found} - {own}
    return sorted(each for each in names if may_be_trial(each, context.config_loader.recipes()))


def context_of(
    env: str | None, recipe: str | None = None, runtime: dict | None = None, dataset: str | None = None
) -> "Context":
    """Kedro's context, of the configured recipe and data set if none is named. runtime: what --params would give."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project
    from kedro.utils import is_kedro_project

    from fewstep.pipelines.config_loader import Context

    if not is_kedro_project(Path.cwd()):
        above = next((os.path.relpath(each) for each in Path.cwd().parents if is_kedro_project(each)), None)
        place = f": cd {above}" if above else "."
        raise InvalidInput(
            f"{Path.cwd()} is not a project (no pyproject.toml names it): go to the project's folder{place}"
        )
    bootstrap_project(Path.cwd())

    named = {name: value for name, value in (("recipe", recipe), ("dataset", dataset)) if value}
    session = KedroSession.create(Path.cwd(), env=env, runtime_params={**(runtime or {}), **named})
    with session:
        context = session.load_context()
    assert isinstance(context, Context)  # settings.py says so
    return context


def registered_project(env: str | None, dataset: str | None) -> "tuple[Context, str]":
    """Kedro's context, and the name of the registered model that is meant.

    That of the data set that was asked for, or of the configured one, or of the only one that has any: then the context
    is that of its training. ValueError, with those that are there, where none of these is.
    """
    from fewstep.registry import meant_dataset, registered_name, trained_with

    context = context_of(env, dataset=dataset)
    backend, configured = context.catalog.load("tracking"), context.typed.dataset
    meant = meant_dataset(backend, configured, asked=bool(env or dataset))
    name = registered_name(backend, meant)
    if meant != configured:
        trained = trained_with(backend, name)
        context = context_of(trained if trained and Path("conf", trained).is_dir() else None, dataset=meant)
    return context, name


def champion_of_project(env: str | None = None, dataset: str | None = None) -> str:
    """The registered model that is meant where none is named."""
    return f"models:/{registered_project(env, dataset)[1]}@champion"


def ingest_of(context: "Context", **changes: Any) -> str:
    """The command that reads this project's data, with other parameters if some are given."""
    from fewstep.commands.options import together

    params = together(context.config_loader.runtime_params or {}, changes)
    return command_of("ingest", context.typed.env, params)


def needed(context: "Context", name: str, by: str) -> Any:
    """What ingest makes under a name; ValueError with its command where it is not there. by: as "scores need"."""
    if not context.catalog.exists(name):
        make = ingest_of(context)
        found = others_with(context, name)
        there = f" There are those of {', '.join(found)} (--dataset={found[0]})." if found else ""
        raise InvalidInput(f"{by} {name}, and there is no {place_of(context.catalog, name)}: run {make}.{there}")
    return context.catalog.load(name)


def judged_by(context: "Context", by: str) -> "tuple[ArrayStore, Extractor]":
    """Images and the features that scores of them are measured by, which belong together. by: as in `needed`."""
    found = {name: needed(context, name, by) for name in ("images", "extractor")}
    from fewstep.pipelines.agreement import check_together

    check_together(found, context.catalog, context.config_loader.runtime_params)
    return found["images"], found["extractor"]


def others_with(context: "Context", name: str) -> list[str]:
    """The data sets that have what this one lacks."""
    parts, dataset = list(place_of(context.catalog, name).parts), context.typed.dataset
    place = parts.index(dataset)
    return sorted(
        path.parts[place] for path in Path().glob(str(Path(*("*" if part == dataset else part for part in parts))))
    )


def check_folder(file: Path) -> None:
    """Raise ValueError if a file that is to be written has no folder to lie in, or a name that no disk takes."""
    if len(os.fsencode(file.name)) > LONGEST:
        raise InvalidInput(f"{file.name[:20]}... is too long for the name of a file: at most {LONGEST} letters.")
    if not file.parent.is_dir():
        raise InvalidInput(f"there is no folder {file.parent} to write {file.name} to: make it, or name another place.")


def model_of(place: str, precision: str | None = None, compiled: bool | str = False) -> "Model":
    """A registered model, or that of a folder, on the best device there is. precision, compiled: of its passes."""
    return load(place, precision=precision or "fp32", compile=compiled)


def check_makes(place: str, model: "Model", images: "ArrayStore") -> None:
    """Raise InvalidInput unless the model in this place makes samples like these data."""
    if model.space.shape != images.space.shape:
        raise InvalidInput(
            f"{place} must make samples of {images.space.shape}, as {images.space.name} are, got {model.space.shape}."
        )
