"""Promotion: a version is compared with the champion, and keeps the decision in words."""

from dataclasses import replace
from typing import TYPE_CHECKING

from fewstep.evaluation.results import Evidence
from fewstep.registry.champion_log import LONGEST, move
from fewstep.registry.exam import Exam
from fewstep.registry.gate import Rules, decide
from fewstep.registry.versions import describe, explain, facts_of, get_version, holder_of, load_version
from fewstep.support.errors import InvalidInput
from fewstep.tracking.backend import Backend

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from fewstep.models.model import Model


def promote(backend: Backend, name: str, exam: Exam, rules: Rules, number: int | None = None) -> dict:
    """Let the gate decide on a version, by default the challenger. Returns {version, promoted, reason, against}.

    Challenger and champion are evaluated as the exam asks, unless they were already. A provisional champion that is
    also the challenger is confirmed if it meets the thresholds for a first champion. Raises ValueError for a version
    that does not exist, whose files are missing or were changed since it was registered, and without a registry.
    """
    client = backend.existing()
    # The evaluation takes minutes, without the lock. If the champion has changed meanwhile, decide again.
    while True:
        version = get_version(client, name, number or "challenger")
        champion = holder_of(client, name, "champion")
        promoted, reason = _compare(client, backend, version, champion, exam, rules)
        with backend.alone():
            if _number(holder_of(client, name, "champion")) == _number(champion):  # nobody moved it meanwhile
                return _settle(client, version, champion, promoted, reason)


def force(backend: Backend, name: str, number: int, reason: str) -> dict:
    """Make a version champion, recorded as forced. Raises ValueError without a reason, or if its files are damaged."""
    if not reason.strip():
        raise InvalidInput("a forced promotion needs a reason, which the history records: --reason '...'")
    client, reason = backend.existing(), reason[:LONGEST]
    version = get_version(client, name, number)
    load_version(version, backend)
    with backend.alone():
        made = move(client, name, "forced", version.version, reason)
    explain(client, version, f"forced by {made['who']}: {reason}", version.tags.get("provisional") == "true")
    return {"version": number, "promoted": True, "reason": reason, "against": made["from"]}


def rollback(backend: Backend, name: str, reason: str = "") -> dict:
    """Make the previous champion champion again, and the champion previous. Returns the move."""
    client = backend.existing()
    with backend.alone():
        previous = get_version(client, name, "previous")
        load_version(previous, backend)
        return move(client, name, "rolled back", previous.version, reason or "no reason given")


def _compare(
    client: "MlflowClient",
    backend: Backend,
    version: "ModelVersion",
    champion: "ModelVersion | None",
    exam: Exam,
    rules: Rules,
) -> tuple[bool | None, str]:
    """Whether the version is promoted, and why; None instead of a bool if it was not compared."""
    if champion and champion.version == version.version:
        champion = None
        if version.tags.get("provisional") != "true":
            return False, "it is the champion"
    contest = [(version, load_version(version, backend))]
    if champion:
        try:
            contest.append((champion, load_version(champion, backend)))
        except InvalidInput as problem:
            return None, f"the champion cannot be compared ({problem}): roll back, or promote with --force"
    for side, model in contest:
        if model.spec.data_sha256 != exam.measured.data_sha256:
            trained, judged = str(model.spec.data_sha256)[:16], exam.measured.data_sha256[:16]
            return None, f"not compared: the data hash of version {side.version} differs ({trained}, not {judged})"
    evidence = [_evidence(client, *side, exam, rules) for side in contest]
    speeds = exam.speeds([model for _, model in contest], rules.nfe)
    judged = [replace(found, images_per_second=speed) for found, speed in zip(evidence, speeds, strict=True)]
    return decide(judged[0], judged[1] if champion else None, rules)


def _evidence(client: "MlflowClient", version: "ModelVersion", model: "Model", exam: Exam, rules: Rules) -> Evidence:
    """The evidence kept on the version if it was measured like the exam; else that of the exam, which is kept now."""
    facts, nfe = facts_of(version), str(rules.nfe)
    known, wanted = facts.get("evidence", {}), Evidence.expected(exam.measured, rules.nfe, exam.precision)
    if nfe in known:
        kept = Evidence.from_json(known[nfe])
        if kept.full and not kept.difference(wanted):
            return kept
    found = Evidence.of(exam.scores(model, rules.nfe), model.spec.name, rules.nfe)
    assert found is not None  # the exam evaluates at this NFE
    describe(client, version, {**facts, "evidence": {**known, nfe: found.to_json()}}, model)
    return found


def _settle(
    client: "MlflowClient", version: "ModelVersion", champion: "ModelVersion | None", promoted: bool | None, reason: str
) -> dict:
    against, itself, reason = _number(champion), _number(champion) == int(version.version), reason[:LONGEST]
    if promoted:
        move(client, version.name, "confirmed" if itself else "promoted", version.version, reason)
    provisional, open_still = version.tags.get("provisional") == "true", promoted is None or (itself and not promoted)
    if provisional or not (itself and open_still):  # a champion that was confirmed keeps the reason for it
        explain(client, version, reason, provisional and open_still)
    return {"version": int(version.version), "promoted": bool(promoted), "reason": reason, "against": against}


def _number(version: "ModelVersion | None") -> int | None:
    return version and int(version.version)
