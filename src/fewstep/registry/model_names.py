"""The names of registered models, and what they were called while the project was named Onestep."""

import logging

from fewstep.support.errors import InvalidInput
from fewstep.tracking.backend import Backend
from fewstep.tracking.mlflow_calls import find_run

PREFIX, FORMERLY, TEACHER = "fewstep-", "onestep-", "-teacher"
log = logging.getLogger(__name__)


def model_name(dataset: str) -> str:
    """The registered model of a data set's students."""
    return f"{PREFIX}{dataset}"


def teacher_name(dataset: str) -> str:
    """The registered model of a data set's teachers."""
    return f"{PREFIX}{dataset}{TEACHER}"


def registered_name(backend: Backend, dataset: str) -> str:
    """The registered model of a data set: under its former name, with a warning, where it has that one alone.

    Raises ValueError where there is no registry, ConnectionError where MLflow does not answer.
    """
    client, name = backend.existing(), model_name(dataset)
    former = f"{FORMERLY}{dataset}"
    known = {found.name for found in client.search_registered_models(f"name ILIKE '%step-{dataset}'")}
    if name in known or former not in known:
        return name
    log.warning("%s is registered under its former name, %s. To make %s: fewstep registry sync", name, former, name)
    return former


def meant_dataset(backend: Backend, dataset: str, asked: bool) -> str:
    """The data set whose model is meant: this one or, unless it was asked for, the only one with a registered model.

    Raises ValueError, with those that are there, where it has none and there are several; and as registered_name does.
    """
    known = registered_datasets(backend)
    if dataset in known:
        return dataset
    if not known:
        raise InvalidInput(f"no model is registered at {backend.address} yet: kedro run makes one.")
    if asked or len(known) > 1:
        there = ", ".join(known)
        raise InvalidInput(f"{dataset} has no registered model. There are models of: {there} (--dataset={known[0]}).")
    return known[0]


def registered_datasets(backend: Backend) -> list[str]:
    """The data sets whose students are registered."""
    if backend.database and not backend.database.exists():
        return []
    names = [found.name for found in backend.existing().search_registered_models()]
    found = [name.removeprefix(start) for name in names for start in (PREFIX, FORMERLY) if name.startswith(start)]
    return sorted({name for name in found if not name.endswith(TEACHER)})


def trained_with(backend: Backend, name: str) -> str | None:
    """The configuration (--env) of the training of a registered model's newest version, where its run is there."""
    client = backend.existing()
    version = max(client.search_model_versions(f"name='{name}'"), key=lambda each: int(each.version), default=None)
    run = version and find_run(client, version.run_id)
    return run.data.tags.get("env") if run else None


def renamed(record: dict) -> dict:
    """A record or a history of moves with today's names, its teacher's too."""
    new = {key: _renamed(value) for key, value in record.items() if key in ("name", "uri", "teacher_version")}
    new |= {key: renamed(record[key]) for key in ("lineage", "teacher") if key in record}
    return {**record, **new}


def _renamed(text: str) -> str:
    """A name, `name/version` or `models:/name...`."""
    scheme, found, name = text.rpartition("models:/")
    return scheme + found + (PREFIX + name.removeprefix(FORMERLY) if name.startswith(FORMERLY) else name)
