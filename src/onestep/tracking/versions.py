"""One version in the model registry: its facts, its package, and how it is found again."""

import json
import logging
import shutil
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from onestep.tracking.calls import find_run
from onestep.tracking.card import card
from onestep.tracking.scores import SAMPLING_SPEED
from onestep.tracking.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from onestep.training.model import Model

NEEDED = ("onestep", "mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")


def load_model(folder: Path | str) -> "Model":
    from onestep.training.model import Model

    return Model.load(folder)


def create_version(
    client: "MlflowClient",
    store: Store,
    model: "Model",
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
    with TemporaryDirectory() as temporary:
        write_package(model, Path(temporary))
        for file in shown:
            shutil.copy(file, Path(temporary, "pyfunc"))
        client.log_model_artifacts(logged.model_id, f"{temporary}/pyfunc")
    client.finalize_logged_model(logged.model_id, "READY")
    if not client.search_registered_models(f"name='{name}'"):
        client.create_registered_model(name)
    # Without a run, MLflow would look the logged model up in its global store instead of this client's.
    model_id = logged.model_id if run_id else None
    while True:
        version = client.create_model_version(
            name, logged.artifact_location, run_id, tags, description=description, model_id=model_id
        )
        if int(version.version) >= number:
            return version
        client.delete_model_version(name, version.version)


def describe(client: "MlflowClient", version: "ModelVersion", facts: dict, model: "Model") -> "ModelVersion":
    """The version with these facts in its tags and on its card, in place of others."""
    name, number = version.name, version.version
    for key, value in _tags(facts).items():
        if version.tags.get(key) != value:
            client.set_model_version_tag(name, number, key, value)
    client.update_model_version(name, number, card(facts, model, find_run(client, version.run_id)))
    return client.get_model_version(name, number)


def write_package(model: "Model", temporary: Path) -> None:
    """The folder that MLflow loads a generator from: our generator.py, with the finished model as its artifact."""
    from mlflow import pyfunc

    logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)  # "no output type hint"
    (temporary / "model").mkdir()
    for file in ("model.json", "model.safetensors"):
        shutil.copy(model.folder / file, temporary / "model")
    pyfunc.save_model(
        temporary / "pyfunc",
        python_model=str(Path(__file__).with_name("generator.py")),
        artifacts={"model": str(temporary / "model")},
        model_config={"model_sha256": model.sha256},
        pip_requirements=[f"{package}=={installed(package).partition('+')[0]}" for package in NEEDED],
    )


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
    from mlflow.exceptions import MlflowException

    try:
        found = client.get_model_version(name, str(place)) if isinstance(place, int) else holder_of(client, name, place)
    except MlflowException as problem:
        raise ValueError(f"{name}, version {place}, is not in the registry: {problem.message}") from None
    if found is None:
        raise ValueError(f"{name} has no {place} in the registry")
    return found


def load_version(version: "ModelVersion", store: Store) -> "Model":
    """The model of a version. ValueError if its files are missing, damaged, or not those that were registered."""
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException

    uri = f"{version.name} version {version.version}"
    try:
        folder = download_artifacts(artifact_uri=f"{version.source}/artifacts/model", tracking_uri=store.uri)
    except (MlflowException, OSError) as problem:
        raise ValueError(f"{uri}: its files are not to be had: {store.words(problem)}") from None
    model = load_model(folder)
    check_weights(version, model)
    return model


def check_weights(version: "ModelVersion", model: "Model") -> None:
    """Raise ValueError if the version was registered with others."""
    if model.sha256 != version.tags.get("model_sha256", model.sha256):
        raise ValueError(f"{version.name} version {version.version}: the weights are not those that were registered")


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
