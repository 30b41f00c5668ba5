"""What the registry keeps of a version."""

from typing import TYPE_CHECKING

from fewstep.models.spec import levels_to_json
from fewstep.registry.evidence import evidence_of, flat_scores, judged_by

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

FACTS = ("name", "dataset", "recipe", "model_sha256", "levels", "judged_by", "evidence", "scores", "lineage")


def facts_for(model: "SavedModel", scores: dict, name: str, lineage: dict, nfe: int = 1) -> dict:
    """The FACTS of a model with these scores. nfe: evaluations at which it is shown."""
    recipe = model.spec.name
    return {
        "name": name,
        "dataset": scores["dataset"],
        "recipe": recipe,
        "model_sha256": model.sha256,
        "levels": levels_to_json(model.spec.levels),
        "judged_by": judged_by(scores, recipe, nfe),
        "evidence": _evidence(scores, recipe),
        "scores": flat_scores(scores, recipe),
        "lineage": {key: value for key, value in lineage.items() if value and not key.startswith("mlflow.")},
    }


def _evidence(scores: dict, model: str) -> dict[str, dict]:
    """{NFE: what the gate looks at there}."""
    rows = [row for row in scores["rows"] if row["model"] == model]
    found = {str(row["nfe"]): evidence_of(scores, model, row["nfe"]) for row in rows}
    return {nfe: evidence for nfe, evidence in found.items() if evidence}
