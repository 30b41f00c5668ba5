"""One version in the model registry: its facts, its files, and how it is found again."""

import json
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from fewstep.models.spec import levels_from_json
from fewstep.registry.card import card
from fewstep.registry.evidence import SAMPLING_SPEED
from fewstep.registry.package import PARTS, SEAL, seal_of, seals_of, write_package
from fewstep.support.errors import InvalidInput
from fewstep.tracking.backend import Store
from fewstep.tracking.mlflow_calls import find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from fewstep.models.model import Model, SavedModel


def create_version(
    client: "MlflowClient",
    store: Store,
    model: "SavedModel",
    facts: dict,
    run_id: str | None,
    number: int = 1,
    shown: Sequence[Path] = (),
) -> "ModelVersion":
    """A new version of a model in its folder, its number at least `number`. shown: files to keep beside the model."""
    run = find_run(client, run_id)
    name, tags, description = facts["name"], _tags(facts), card(facts, model, run)
    run_id = run and run.info.run_id
    logged = client.create_logged_model(store.experiment(client, facts["dataset"]), facts["recipe"], run_id, tags)
    with packaged(model, facts.get("levels")) as folder:
        for file in shown:
            shutil.copy(file, folder)
        client.log_model_artifacts(logged.model_id, str(folder))
        tags |= seals_of([folder / part for part in PARTS])
    client.finalize_logged_model(logged.model_id, "READY")
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    # Without a run, a server asks for the logged model, and a database would look it up in MLflow's global store.
    model_id = logged.model_id if run_id or store.uri.startswith("http") else None
    while True:
        version = client.create_model_version(
            name, logged.artifact_location, run_id, tags, description=description, model_id=model_id
        )
        if int(version.version) >= number:
            return version
        client.delete_model_version(name, version.version)


@contextmanager
def packaged(model: "SavedModel", levels: dict | None) -> Iterator[Path]:
    """The files of a model at these levels, in a folder for a while. None: its own; DVC keeps no searched ones."""
    with TemporaryDirectory() as temporary:
        place = Path(temporary)
        write_package(model if levels is None else model.at_levels(levels_from_json(levels)), place)
        yield place / "pyfunc"


def describe(client: "MlflowClient", version: "ModelVersion", facts: dict, model: "SavedModel") -> "ModelVersion":
    """The version with these facts in its tags and on its card, in place of others."""
    name, number = version.name, version.version
    for key, value in _tags(facts).items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, number, key, value)
    client.update_model_version(name, number, card(facts, model, find_run(client, version.run_id)))
    return client.get_model_version(name, number)


def _tags(facts: dict) -> dict[str, str]:
    """Scores and lineage where people look for them, and all facts in one for us."""
    plain = {key: facts[key] for key in ("dataset", "recipe", "model_sha256")}
    flat = {key: str(value) for key, value in {**plain, **facts["lineage"], **facts["scores"]}.items()}
    return {**flat, "facts": json.dumps(facts)}


def facts_of(version: "ModelVersion") -> dict:
    return json.loads(version.tags.get("facts", "{}"))


def find_version(client: "MlflowClient", facts: dict) -> "ModelVersion | None":
    """The version of the same weights and scores, however fast it was sampled."""
    versions = client.search_model_versions(f"name='{facts['name']}'")
    return next((v for v in versions if _identity(facts_of(v)) == _identity(facts)), None)


def _identity(facts: dict) -> tuple:
    scores = {key: value for key, value in facts.get("scores", {}).items() if not key.startswith(SAMPLING_SPEED)}
    return facts.get("model_sha256"), scores


def holder_of(client: "MlflowClient", name: str, alias: str) -> "ModelVersion | None":
    number = client.get_registered_model(name).aliases.get(alias)
    return client.get_model_version(name, number) if number else None


def get_version(client: "MlflowClient", name: str, place: int | str) -> "ModelVersion":
    """The version of a number or an alias. ValueError if there is none."""
    with Store(client.tracking_uri).asked_for(f"{name}, version {place},"):
        found = client.get_model_version(name, str(place)) if isinstance(place, int) else holder_of(client, name, place)
    if found is None:
        raise InvalidInput(f"{name} has no {place} in the registry")
    return found


def load_version(version: "ModelVersion", store: Store) -> "Model":
    """The model of a version. ValueError if its files are missing, damaged, or not those that were registered.

    Those of a database are read where they lie; what a server sends is on disk for as long as the model is in memory.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri, sent = f"{version.name} version {version.version}", TemporaryDirectory(prefix="fewstep-")
    place = None if store.database else sent.name
    try:
        parts = [Path(download_artifacts(f"{version.source}/{part}", None, None, place, store.uri)) for part in PARTS]
    except (MlflowException, OSError) as problem:
        raise InvalidInput(f"{uri}: its files cannot be fetched: {store.words(problem)}") from None
    from fewstep.models.model import SavedModel

    try:
        saved = SavedModel.open(parts[-1])
        model = saved.load()
    except InvalidInput as problem:
        raise InvalidInput(
            f"{uri}: its files are damaged; restore them with fewstep registry sync ({problem})"
        ) from None
    check_weights(version, saved)
    _check_seals(version, seals_of(parts))
    weakref.finalize(model, sent.cleanup)
    return model


def is_whole(version: "ModelVersion", store: Store) -> bool:
    """Whether its files are all there, and those that were registered."""
    try:
        load_version(version, store)
    except InvalidInput:
        return False
    return True


def mend_version(client: "MlflowClient", store: Store, version: "ModelVersion", model: "SavedModel") -> None:
    """Make the files of a version again, and keep on it that they were. ValueError for another model."""
    check_weights(version, model)
    with packaged(model, facts_of(version).get("levels")) as folder:
        _files_of(version, store).log_artifacts(str(folder))
        for key, seal in seals_of([folder / part for part in PARTS]).items():
            client.set_model_version_tag(version.name, version.version, key, seal)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(version.name, version.version, "mended", now)


def show(version: "ModelVersion", store: Store, files: Sequence[Path]) -> None:
    """Keep files, such as a sample sheet, beside the model."""
    for file in files:
        _files_of(version, store).log_artifact(str(file))


def _files_of(version: "ModelVersion", store: Store) -> "ArtifactRepository":
    """ValueError where they lie in another project, which this one is a copy of."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    store.check_beside(version.source)
    return get_artifact_repository(version.source, tracking_uri=store.uri)


def check_weights(version: "ModelVersion", model: "SavedModel") -> None:
    """Raise ValueError if the version was registered with others."""
    if model.sha256 != version.tags.get("model_sha256", model.sha256):
        raise InvalidInput(f"{version.name} version {version.version}: its weights are not the registered ones")


def check_files(version: "ModelVersion", model: "SavedModel") -> None:
    """Raise ValueError if the version was registered with other weights, or with another description of them."""
    check_weights(version, model)
    _check_seals(version, {SEAL: seal_of(model.folder)})


def _check_seals(version: "ModelVersion", found: dict[str, str]) -> None:
    if any(seal != version.tags.get(key, seal) for key, seal in found.items()):
        raise InvalidInput(f"{version.name} version {version.version}: its files are not the registered ones")


def load_newer(store: Store, name: str, alias: str, number: int | None) -> "tuple[int, Model] | None":
    """The number and the model of the version that holds an alias, if it is another than this one.

    ValueError and ConnectionError where it cannot be had.
    """
    store.check_there()
    version = get_version(store.client(), name, alias)
    return None if int(version.version) == number else (int(version.version), load_version(version, store))


def explain(client: "MlflowClient", version: "ModelVersion", reason: str, provisional: bool) -> None:
    """Keep on a version why it is what it is."""
    client.set_model_version_tag(version.name, version.version, "reason", reason)
    client.set_model_version_tag(version.name, version.version, "provisional", str(provisional).lower())
