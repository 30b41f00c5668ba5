"""The model registry: versions of `fewstep-<data set>`, their record, and the aliases challenger and champion."""

import math
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fewstep.evaluation.results import Evaluation
from fewstep.models.model import SavedModel
from fewstep.registry.champion_log import DECIDED, append, move, moves_of, point
from fewstep.registry.model_names import model_name, renamed, teacher_name
from fewstep.registry.record import FACTS, facts_for
from fewstep.registry.versions import (
    create_version,
    describe,
    explain,
    facts_of,
    find_version,
    holder_of,
    is_whole,
    load_version,
    mend_version,
    show,
)
from fewstep.support.errors import InvalidInput
from fewstep.support.json_text import parse_json
from fewstep.tracking.backend import Backend

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from fewstep.models.model import Model


def register(
    model: "SavedModel",
    scores: Evaluation,
    backend: Backend,
    tags: dict[str, str] | None = None,
    run_id: str | None = None,
    teacher: dict | None = None,
    shown: Sequence[Path] = (),
) -> dict:
    """Make a finished model the challenger, and champion for the time being if it is the first. Returns its record.

    scores: must have rows of this model. tags: lineage, as from `run_tags`. run_id: the run that trained it. teacher:
    the record of its teacher's version. shown: files to keep with it, such as a sample sheet. The same weights with the
    same scores are the same version; its files are written again if they are missing or damaged. Raises ValueError for
    a model that is damaged or was not evaluated at 1 NFE, ConnectionError if MLflow does not answer.
    """
    teacher = teacher or {}
    model.load("cpu")  # which raises for damaged weights
    lineage = {"teacher_sha256": model.spec.provenance.teacher_sha256, **(tags or {})}
    if earlier := model.spec.provenance.earlier:
        lineage |= {
            "earlier": earlier["name"],
            "earlier_sha256": earlier["sha256"],
            "earlier_run": earlier.get("run", ""),
        }
    if teacher:
        lineage |= {"teacher_version": _version_of(teacher)}
    facts = facts_for(model, scores, model_name(scores.measurement.dataset), lineage)
    client = backend.client()
    with backend.alone():
        version = _find_or_create(client, backend, model, facts, run_id, shown)
        record = _judge(client, version, facts)
    return record | ({"teacher": teacher} if teacher else {})


def register_teacher(
    model: "SavedModel",
    scores: Evaluation,
    backend: Backend,
    tags: dict[str, str] | None = None,
    run_id: str | None = None,
) -> dict:
    """Make a teacher a version of its own registered model, which has no champion. Returns its record.

    Arguments as for register. The score at the most evaluations represents the version.
    """
    model.load("cpu")
    most = max(row.nfe for row in scores.usual_rows_of(model.spec.name))
    facts = facts_for(model, scores, teacher_name(scores.measurement.dataset), tags or {}, most)
    client = backend.client()
    judged = facts["judged_by"]
    with backend.alone():
        version = _find_or_create(client, backend, model, facts, run_id)
        explain(client, version, f"a teacher; its {judged['score']} is {judged['value']:.4g}", judged["provisional"])
    return _record(client, version.name, version.version)


def attach(model: "SavedModel", backend: Backend, *files: Path) -> None:
    """Keep files with every version of a model, such as a report on it."""
    client = backend.client()
    for version in client.search_model_versions(f"tags.model_sha256='{model.sha256}'"):
        show(version, backend, files)


def sync(found: Iterable[tuple], backend: Backend, moves: dict | None = None) -> list[dict]:
    """Register the models of records again from their folders, with the same numbers if these are free.

    found: (record or the path of its JSON, folder of the finished model, files to keep with it), for students and
    teachers. An existing version stays as it is; only its missing or damaged files are written again. The last new
    version is the challenger, and a former champion becomes champion if there is none. moves: {name, moves} of another
    registry, copied if this one has no moves yet. Former names of models become the new ones.
    """
    moves = moves and renamed(moves)
    loaded = sorted(((_read_record(record), *files) for record, *files in found), key=_teachers_first)
    client, made, numbers = backend.client(), [], {}
    with backend.alone():
        for record, folder, *shown in loaded:
            version = _restore(client, backend, record, folder, numbers, shown)
            numbers[_version_of(record)] = f"{version.name}/{version.version}"
            made.append((record, version))
        if moves and moves["moves"] and not moves_of(client, moves["name"]):
            _take_up(client, moves["name"], moves["moves"])
        for record, version in made:
            if "champion" in record["aliases"] and holder_of(client, version.name, "champion") is None:
                move(client, version.name, "restored", version.version, record["reason"])
    return [_record(client, version.name, version.version) for _, version in made]


def load_registered(uri: str, backend: Backend | None = None) -> "Model":
    """The model of `models:/fewstep-digits@champion` or `models:/fewstep-digits/2`.

    backend: by default that of the working folder. The files of the model are read with the installed package: no code
    of the version is run. Raises ValueError if there is no such version or its files were changed.
    """
    backend = backend or Backend.at(Path.cwd())
    client = backend.existing()
    found = re.fullmatch(r"models:/([^/@]+)(?:@([^/@]+)|/(\d+|latest))", uri)
    if not found:
        raise InvalidInput(f"the model must be given as models:/NAME@champion or models:/NAME/2, got {uri}.")
    name, alias, number = found.groups()
    with backend.asked_for(uri):
        if alias:
            version = client.get_model_version_by_alias(name, alias)
        else:
            version = client.get_model_version(name, _latest(client, name) if number == "latest" else number)
    return load_version(version, backend)


def _latest(client: "MlflowClient", name: str) -> str:
    """The number of the newest version, 0 where there is none."""
    return max((version.version for version in client.search_model_versions(f"name='{name}'")), key=int, default="0")


def _find_or_create(
    client: "MlflowClient",
    backend: Backend,
    model: "SavedModel",
    facts: dict,
    run_id: str | None,
    shown: Sequence[Path] = (),
) -> "ModelVersion":
    """The version of this model and these scores. Levels and teacher are added to its facts if they are missing."""
    version = find_version(client, facts)
    if version is None:
        return create_version(client, backend, model, facts, run_id, shown=shown)
    if not is_whole(version, backend):
        mend_version(client, backend, version, model)
    show(version, backend, shown)
    old, teacher = facts_of(version), facts["lineage"].get("teacher_version")
    new = {"levels": facts["levels"], **old}
    if teacher:
        new["lineage"] = old["lineage"] | {"teacher_version": teacher}
    return version if new == old else describe(client, version, new, model)


def _version_of(record: dict) -> str:
    return f"{record['name']}/{record['version']}"


def _teachers_first(found: tuple) -> tuple[bool, int]:
    record, *_ = found
    return "teacher_sha256" in record["lineage"], record["version"]


def _judge(client: "MlflowClient", version: "ModelVersion", facts: dict) -> dict:
    """Set the aliases, with a reason in words. Unless it is the first version, it waits for the gate."""
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
    """The output of the register stage: all that `sync` needs besides the folder of the model."""
    version = client.get_model_version(name, number)
    suffix = "@champion" if "champion" in version.aliases else f"/{number}"
    said = {"reason": version.tags["reason"], "provisional": version.tags["provisional"] == "true"}
    return {
        "version": int(number),
        "aliases": sorted(version.aliases),
        "uri": f"models:/{name}{suffix}",
        **said,
        **facts_of(version),
    }


def _restore(
    client: "MlflowClient",
    backend: Backend,
    record: dict,
    folder: Path | str,
    numbers: dict[str, str],
    shown: Sequence[Path],
) -> "ModelVersion":
    """The version of a record. numbers: {version of a teacher in the records: its version here}."""
    facts = {key: record[key] for key in FACTS if key in record}
    if (teacher := facts["lineage"].get("teacher_version")) in numbers:
        facts["lineage"] = facts["lineage"] | {"teacher_version": numbers[teacher]}
    if (version := find_version(client, facts)) and is_whole(version, backend):
        return version
    model = SavedModel.open(folder)
    model.load("cpu")
    if model.sha256 != record["model_sha256"]:
        raise InvalidInput(
            f"{folder} is not the model of {record['uri']}: update both to the same commit (git pull, dvc pull)"
        )
    if version:
        mend_version(client, backend, version, model)
        show(version, backend, shown)
        return version
    version = create_version(client, backend, model, facts, None, record["version"], shown)
    explain(client, version, record["reason"], record["provisional"])
    if "challenger" in record["aliases"]:
        point(client, record["name"], "challenger", version.version)
    return version


def _take_up(client: "MlflowClient", name: str, moves: list[dict]) -> None:
    append(client, name, *moves)
    if moves[-1]["kind"] in DECIDED and (champion := holder_of(client, name, "champion")):
        unmeasured = moves[-1]["kind"] == "forced" and champion.tags["provisional"] == "true"
        explain(client, champion, moves[-1]["why"], unmeasured)


def _read_record(record: dict | Path | str) -> dict:
    return renamed(record if isinstance(record, dict) else parse_json(Path(record).read_text()))
