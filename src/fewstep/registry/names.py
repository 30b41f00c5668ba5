"""The names of registered models, and what they were called while the project was named Onestep."""

import logging

from fewstep.tracking.backend import Backend

PREFIX, FORMERLY = "fewstep-", "onestep-"
log = logging.getLogger(__name__)


def model_name(dataset: str) -> str:
    """The registered model of a data set's students."""
    return f"{PREFIX}{dataset}"


def teacher_name(dataset: str) -> str:
    """The registered model of a data set's teachers."""
    return f"{PREFIX}{dataset}-teacher"


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


def renamed(record: dict) -> dict:
    """A record or a history of moves with today's names, its teacher's too."""
    new = {key: _renamed(value) for key, value in record.items() if key in ("name", "uri", "teacher_version")}
    new |= {key: renamed(record[key]) for key in ("lineage", "teacher") if key in record}
    return {**record, **new}


def _renamed(text: str) -> str:
    """A name, `name/version` or `models:/name...`."""
    scheme, found, name = text.rpartition("models:/")
    return scheme + found + (PREFIX + name.removeprefix(FORMERLY) if name.startswith(FORMERLY) else name)
