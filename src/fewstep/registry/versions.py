"""One version in the model registry: its facts and files, and the search for it."""

import json
import shutil
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fewstep.evaluation.results import SAMPLING_SPEED
from fewstep.models.spec import levels_from_json
from fewstep.registry.card import card, version_card
from fewstep.registry.package import SEALS, parts_of, seals_of, write_package
from fewstep.support.errors import InvalidInput, StorageError, UserError
from fewstep.support.json_text import parse_json
from fewstep.tracking.backend import Backend
from fewstep.tracking.mlflow_calls import find_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run as MlflowRun
    from mlflow.entities.model_registry import ModelVersion
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

    from fewstep.models.model import Model, SavedModel


def create_version(
    client: "MlflowClient",
    backend: Backend,
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
    logged = client.create_logged_model(backend.experiment(client, facts["dataset"]), facts["recipe"], run_id, tags)
    with packaged(model, facts.get("levels")) as folder:
        for file in shown:
            shutil.copy(file, folder)
        client.log_model_artifacts(logged.model_id, str(folder))
        tags |= seals_of(folder)
    client.finalize_logged_model(logged.model_id, "READY")
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    # Without a run, a server asks for the logged model, and a database would look it up in MLflow's global store.
    model_id = logged.model_id if run_id or backend.uri.startswith("http") else None
    # MLflow counts versions itself. Deleting one keeps its number, so this reaches the number that a record has.
    while True:
        version = client.create_model_version(
            name, logged.artifact_location, run_id, tags, description=description, model_id=model_id
        )
        if int(version.version) >= number:
            return _with_card(client, version, facts, model, run)
        client.delete_model_version(name, version.version)


@contextmanager
def packaged(model: "SavedModel", levels: dict | None) -> Generator[Path]:
    """The files of a version, in a temporary folder.

    levels: those at which the model was scored; a folder from DVC may have others. None: the model's own.
    """
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_package(model if levels is None else model.at_levels(levels_from_json(levels)), folder)
        yield folder / "pyfunc"


def describe(
    client: "MlflowClient", version: "ModelVersion", facts: dict, model: "SavedModel | Model"
) -> "ModelVersion":
    """Replace the facts in the tags and on the card of a version, and return it."""
    name, number = version.name, version.version
    for key, value in _tags(facts).items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, number, key, value)
    return _with_card(client, version, facts, model, find_run(client, version.run_id))


def _with_card(
    client: "MlflowClient", version: "ModelVersion", facts: dict, model: "SavedModel | Model", run: "MlflowRun | None"
) -> "ModelVersion":
    """The version, once its page in MLflow shows the card."""
    client.update_model_version(version.name, version.version, version_card(facts, model, version.version, run))
    return client.get_model_version(version.name, version.version)


def _tags(facts: dict) -> dict[str, str]:
    """Scores and lineage as tags for people, and one tag with all facts for Fewstep."""
    plain = {key: facts[key] for key in ("dataset", "recipe", "model_sha256")}
    flat = {key: str(value) for key, value in {**plain, **facts["lineage"], **facts["scores"]}.items()}
    return {**flat, "facts": json.dumps(facts)}


def facts_of(version: "ModelVersion") -> dict:
    return parse_json(version.tags.get("facts", "{}"))


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


def get_version(client: "MlflowClient", name: str, which: int | str) -> "ModelVersion":
    """A version by its number or by an alias. Raises ValueError if there is none."""
    with Backend(client.tracking_uri).asked_for(f"{name}, version {which},"):
        found = client.get_model_version(name, str(which)) if isinstance(which, int) else holder_of(client, name, which)
    if found is None:
        raise InvalidInput(f"{name} has no {which} in the registry")
    return found


def load_version(version: "ModelVersion", backend: Backend) -> "Model":
    """The model of a version, read with the installed package: no code of the version is run.

    Raises ValueError if files are missing, damaged, or changed since the version was registered.
    """
    from fewstep.models.model import SavedModel

    uri = f"{version.name} version {version.version}"
    try:
        with _folder_of(version, backend) as folder:
            seals, saved = seals_of(folder), SavedModel.open(folder / "artifacts/model")
            model = saved.load()
    except OSError as problem:
        raise InvalidInput(f"{uri}: its files cannot be fetched: {backend.words(problem)}") from None
    except (UserError, KeyError) as problem:
        raise InvalidInput(
            f"{uri}: its files are damaged; restore them with fewstep registry sync ({problem})"
        ) from None
    check_files(version, saved, seals)
    return model


@contextmanager
def _folder_of(version: "ModelVersion", backend: Backend) -> Generator[Path]:
    """The folder of a version's files: their own if it is on this machine, else a temporary copy from the server."""
    if urlsplit(source := _source_of(version)).scheme in ("", "file"):
        yield Path(source.removeprefix("file://"))
    else:
        with TemporaryDirectory(prefix="fewstep-") as sent:
            _download(version, backend, Path(sent))
            yield Path(sent)


def _source_of(version: "ModelVersion") -> str:
    """The URI of its files."""
    assert version.source is not None  # create_version gives one
    return version.source


def _download(version: "ModelVersion", backend: Backend, folder: Path) -> None:
    """Download the files of a version. Raises OSError if one cannot be downloaded."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    for part in parts_of(version.tags):
        (place := (folder / part).parent).mkdir(parents=True, exist_ok=True)
        try:
            uri = f"{_source_of(version)}/{part}"
            download_artifacts(artifact_uri=uri, dst_path=str(place), tracking_uri=backend.uri)
        except MlflowException as problem:
            raise StorageError(str(problem)) from None


def is_whole(version: "ModelVersion", backend: Backend) -> bool:
    """Whether no file is missing or was changed since the version was registered."""
    try:
        load_version(version, backend)
    except InvalidInput:
        return False
    return True


def mend_version(client: "MlflowClient", backend: Backend, version: "ModelVersion", model: "SavedModel") -> None:
    """Write the files of a version again, and note that in a tag. Raises ValueError for another model."""
    check_weights(version, model)
    with packaged(model, facts_of(version).get("levels")) as folder:
        _files_of(version, backend).log_artifacts(str(folder))
        for key, seal in seals_of(folder).items():
            client.set_model_version_tag(version.name, version.version, key, seal)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    client.set_model_version_tag(version.name, version.version, "mended", now)


def show(version: "ModelVersion", backend: Backend, files: Sequence[Path]) -> None:
    """Keep files, such as a sample sheet, beside the model."""
    for file in files:
        _files_of(version, backend).log_artifact(str(file))


def _files_of(version: "ModelVersion", backend: Backend) -> "ArtifactRepository":
    """Where files of a version are written. Raises ValueError if this project is a copy, and that is the original.

    MLflow's client writes files of a logged model by its id, which a version without a run does not have.
    """
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    backend.check_beside(source := _source_of(version))
    return get_artifact_repository(source, tracking_uri=backend.uri)


def check_weights(version: "ModelVersion", model: "SavedModel") -> None:
    """Raise ValueError if the version was registered with other weights."""
    if model.sha256 != version.tags.get("model_sha256", model.sha256):
        raise InvalidInput(f"{version.name} version {version.version}: its weights are not the registered ones")


def check_files(version: "ModelVersion", model: "SavedModel", seals: dict[str, str]) -> None:
    """Raise ValueError unless weights, description, code and requirements are those that were registered.

    seals: as seals_of has them. A version has tags for what was sealed when it was registered.
    """
    check_weights(version, model)
    for key in SEALS:
        if version.tags.get(key, seals.get(key)) != seals.get(key):
            raise InvalidInput(f"{version.name} version {version.version}: its files are not the registered ones")


def load_newer(backend: Backend, name: str, alias: str, number: int | None) -> "tuple[int, Model] | None":
    """The number and the model of the version with this alias; None if that is version `number`.

    Raises ValueError or ConnectionError if it cannot be loaded.
    """
    version = get_version(backend.existing(), name, alias)
    return None if int(version.version) == number else (int(version.version), load_version(version, backend))


def explain(client: "MlflowClient", version: "ModelVersion", reason: str, provisional: bool) -> None:
    """Keep on a version the reason for its aliases, and whether they are provisional."""
    client.set_model_version_tag(version.name, version.version, "reason", reason)
    client.set_model_version_tag(version.name, version.version, "provisional", str(provisional).lower())
