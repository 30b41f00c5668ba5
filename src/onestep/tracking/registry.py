"""The model registry: versions of `onestep-<data set>`, their record, and the aliases challenger and champion."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from onestep.tracking.gate import decide, flat_scores, judged_by
from onestep.tracking.store import Store
from onestep.tracking.versions import create_version, facts_of, find_version, holder_of, load_model

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from onestep.training.model import Model

FACTS = ("name", "dataset", "recipe", "model_sha256", "judged_by", "scores", "lineage")


def register(
    folder: Path | str, scores: dict, store: Store, tags: dict[str, str] | None = None, run_id: str | None = None
) -> dict:
    """Make a finished model the challenger, and champion if the gate says so. Returns the version's record.

    scores: a scores.json with rows of this model. tags: lineage, as from `run_tags`. run_id: the run that trained it.
    The same weights with the same scores are the same version. Raises ValueError for a model that is damaged or not
    evaluated at 1 NFE, ConnectionError where MLflow is away.
    """
    model = load_model(folder)
    recipe = model.spec["name"]
    lineage = {"teacher_sha256": model.spec.get("provenance", {}).get("teacher_sha256"), **(tags or {})}
    facts = {
        "name": f"onestep-{scores['dataset']}",
        "dataset": scores["dataset"],
        "recipe": recipe,
        "model_sha256": model.sha256,
        "judged_by": judged_by(scores, recipe),
        "scores": flat_scores(scores, recipe),
        "lineage": {key: value for key, value in lineage.items() if value and not key.startswith("mlflow.")},
    }
    client = store.client()
    version = find_version(client, facts) or create_version(client, store, folder, facts, run_id)
    return _judge(client, version, facts)


def sync(pairs: Iterable[tuple[dict | Path | str, Path | str]], store: Store) -> list[dict]:
    """Make the versions of records again from their model folders, with their numbers and aliases where these are free.

    pairs: (record or the path of its JSON, folder of the finished model). A version that is there stays as it is.
    """
    loaded = [(_read_record(record), folder) for record, folder in pairs]
    client = store.client()
    return [_restore(client, store, *pair) for pair in sorted(loaded, key=lambda pair: int(pair[0]["version"]))]


def load_registered(uri: str, store: Store | None = None) -> "Model":
    """The model of `models:/onestep-digits@champion` or `models:/onestep-digits/2`, whose `sample` gives arrays.

    store: that of the working folder if not given. ValueError if there is no such version, or its weights were changed.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.exceptions import MlflowException
    from mlflow.store.artifact.utils.models import get_model_name_and_version

    store = store or Store.at(Path.cwd())
    if store.database and not store.database.exists():
        raise ValueError(f"no registry at {store.address}: go to the project's folder or set MLFLOW_TRACKING_URI")
    client = store.client()
    try:
        version = client.get_model_version(*get_model_name_and_version(client, uri))
    except MlflowException as problem:
        raise ValueError(f"{uri} is not in the registry at {store.address}: {problem.message}") from None
    model = load_model(download_artifacts(artifact_uri=f"{version.source}/artifacts/model", tracking_uri=store.uri))
    if model.sha256 != version.tags.get("model_sha256", model.sha256):
        raise ValueError(f"{uri}: the weights are not those that were registered as version {version.version}")
    return model


def _judge(client: "MlflowClient", version: "ModelVersion", facts: dict) -> dict:
    """Aliases and, in words, why."""
    name, number = version.name, version.version
    client.set_registered_model_alias(name, "challenger", number)
    champion = holder_of(client, name, "champion")
    if champion is None or int(champion.version) != int(number):
        promoted, reason = decide(facts["judged_by"], champion and facts_of(champion).get("judged_by", {}))
        provisional = facts["judged_by"]["provisional"] or (promoted and champion is None)
        _explain(client, version, reason, provisional)
        if promoted:
            client.set_registered_model_alias(name, "champion", number)
    return _record(client, name, number)


def _explain(client: "MlflowClient", version: "ModelVersion", reason: str, provisional: bool) -> None:
    client.set_model_version_tag(version.name, version.version, "reason", reason)
    client.set_model_version_tag(version.name, version.version, "provisional", str(provisional).lower())


def _record(client: "MlflowClient", name: str, number: str) -> dict:
    """What the register stage leaves behind, and all that `sync` needs beside the model folder."""
    version = client.get_model_version(name, number)
    place = "@champion" if "champion" in version.aliases else f"/{number}"
    said = {"reason": version.tags["reason"], "provisional": version.tags["provisional"] == "true"}
    return {
        "version": int(number),
        "aliases": sorted(version.aliases),
        "uri": f"models:/{name}{place}",
        **said,
        **facts_of(version),
    }


def _restore(client: "MlflowClient", store: Store, record: dict, folder: Path | str) -> dict:
    facts = {key: record[key] for key in FACTS}
    name, version = record["name"], find_version(client, facts)
    new = version is None
    if new:
        if load_model(folder).sha256 != record["model_sha256"]:
            raise ValueError(f"{folder} is not the model of {record['uri']}: bring both to one state (dvc pull)")
        version = create_version(client, store, folder, facts, None, record["version"])
        _explain(client, version, record["reason"], record["provisional"])
    for alias in record["aliases"]:
        holder = holder_of(client, name, alias)
        beaten = holder and decide(facts["judged_by"], facts_of(holder).get("judged_by", {}))[0]
        if holder is None or (new and (alias != "champion" or beaten)):
            client.set_registered_model_alias(name, alias, version.version)
    return _record(client, name, version.version)


def _read_record(record: dict | Path | str) -> dict:
    return record if isinstance(record, dict) else json.loads(Path(record).read_text())
