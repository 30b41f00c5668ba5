"""The model registry: versions of `onestep-<data set>`, their record, and the aliases challenger and champion."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from onestep.tracking.moves import DECIDED, append, move, moves_of, point
from onestep.tracking.scores import evidence_of, flat_scores, judged_by
from onestep.tracking.store import Store
from onestep.tracking.versions import (
    create_version,
    explain,
    facts_of,
    find_version,
    get_version,
    holder_of,
    load_model,
    load_version,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from onestep.training.model import Model

FACTS = ("name", "dataset", "recipe", "model_sha256", "judged_by", "evidence", "scores", "lineage")


def register(
    folder: Path | str, scores: dict, store: Store, tags: dict[str, str] | None = None, run_id: str | None = None
) -> dict:
    """Make a finished model the challenger, and champion for the time being if it is the first. Returns its record.

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
        "evidence": _evidence(scores, recipe),
        "scores": flat_scores(scores, recipe),
        "lineage": {key: value for key, value in lineage.items() if value and not key.startswith("mlflow.")},
    }
    client = store.client()
    version = find_version(client, facts) or create_version(client, store, folder, facts, run_id)
    with store.alone():
        return _judge(client, version, facts)


def sync(pairs: Iterable[tuple[dict | Path | str, Path | str]], store: Store, moves: dict | None = None) -> list[dict]:
    """Make the versions of records again from their model folders, with their numbers and aliases where these are free.

    pairs: (record or the path of its JSON, folder of the finished model). A version that is there stays as it is.
    moves: {name, moves} of a registry that was there before; taken up where this one has had none.
    """
    loaded = sorted(((_read_record(record), folder) for record, folder in pairs), key=lambda pair: pair[0]["version"])
    client = store.client()
    made = [(record, _restore(client, store, record, folder)) for record, folder in loaded]
    with store.alone():
        if moves and moves["moves"] and not moves_of(client, moves["name"]):
            _take_up(client, moves["name"], moves["moves"])
        for record, version in made:
            if "champion" in record["aliases"] and holder_of(client, version.name, "champion") is None:
                move(client, version.name, "restored", version.version, record["reason"])
    return [_record(client, version.name, version.version) for _, version in made]


def load_registered(uri: str, store: Store | None = None) -> "Model":
    """The model of `models:/onestep-digits@champion` or `models:/onestep-digits/2`, whose `sample` gives arrays.

    store: that of the working folder if not given. ValueError if there is no such version, or its weights were changed.
    """
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
    return load_version(version, store)


def _evidence(scores: dict, model: str) -> dict[str, dict]:
    """{NFE: what the gate looks at there}."""
    rows = [row for row in scores["rows"] if row["model"] == model]
    found = {str(row["nfe"]): evidence_of(scores, model, row["nfe"]) for row in rows}
    return {nfe: evidence for nfe, evidence in found.items() if evidence}


def _judge(client: "MlflowClient", version: "ModelVersion", facts: dict) -> dict:
    """Aliases and, in words, why. What is no first champion waits for the gate."""
    name, number, judged = version.name, version.version, facts["judged_by"]
    point(client, name, "challenger", number)
    shown = f"its {judged['score']} is {judged['value']:.4g}"
    if holder_of(client, name, "champion") is None and math.isfinite(judged["value"]):
        reason = f"there was no champion; {shown}"
        explain(client, version, reason, True)
        move(client, name, "first", number, reason)
    elif "reason" not in version.tags:
        explain(client, version, f"{shown}, and the gate has not decided yet", judged["provisional"])
    return _record(client, name, number)


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


def _restore(client: "MlflowClient", store: Store, record: dict, folder: Path | str) -> "ModelVersion":
    facts = {key: record[key] for key in FACTS if key in record}
    if version := find_version(client, facts):
        return version
    if load_model(folder).sha256 != record["model_sha256"]:
        raise ValueError(f"{folder} is not the model of {record['uri']}: bring both to one state (dvc pull)")
    version = create_version(client, store, folder, facts, None, record["version"])
    explain(client, version, record["reason"], record["provisional"])
    if "challenger" in record["aliases"]:
        point(client, record["name"], "challenger", version.version)
    return version


def _take_up(client: "MlflowClient", name: str, moves: list[dict]) -> None:
    append(client, name, *moves)
    if moves[-1]["kind"] in DECIDED and holder_of(client, name, "champion"):
        explain(client, get_version(client, name, "champion"), moves[-1]["why"], False)


def _read_record(record: dict | Path | str) -> dict:
    return record if isinstance(record, dict) else json.loads(Path(record).read_text())
