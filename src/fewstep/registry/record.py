"""The facts that the registry keeps about a version."""

from typing import TYPE_CHECKING

from fewstep.evaluation.results import Evaluation, Evidence
from fewstep.models.spec import levels_to_json
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

FACTS = ("name", "dataset", "recipe", "model_sha256", "levels", "judged_by", "evidence", "scores", "lineage")


def facts_for(model: "SavedModel", scores: Evaluation, name: str, lineage: dict, nfe: int = 1) -> dict:
    """The FACTS of a model with these scores. nfe: the evaluations whose primary score represents the version."""
    recipe = model.spec.name
    return {
        "name": name,
        "dataset": scores.measurement.dataset,
        "recipe": recipe,
        "model_sha256": model.sha256,
        "levels": levels_to_json(model.spec.levels),
        "judged_by": judged_by(scores, recipe, nfe),
        "evidence": _evidence(scores, recipe),
        "scores": scores.means_of(recipe),
        "lineage": {key: value for key, value in lineage.items() if value and not key.startswith("mlflow.")},
    }


def judged_by(scores: Evaluation, model: str, nfe: int = 1) -> dict:
    """The primary score at nfe, which represents the version, and how it was measured.

    Raises ValueError if the model was not evaluated at nfe.
    """
    how, row = scores.measurement, scores.row_of(model, nfe)
    name = f"{scores.primary}/nfe_{nfe:02d}"
    if row is None or scores.primary not in row.scores:
        raise InvalidInput(f"model {model!r} has no score {name}: evaluate it at {nfe} NFE before it is registered")
    measured = {"data_sha256": how.data_sha256, "extractor_sha256": how.extractor_sha256, "count": how.count}
    return {"score": name, "value": row.scores[scores.primary].mean, **measured, "provisional": scores.provisional}


def _evidence(scores: Evaluation, model: str) -> dict[str, dict]:
    """{NFE: the evidence that the gate looks at}."""
    found = {row.nfe: Evidence.of(scores, model, row.nfe) for row in scores.usual_rows_of(model)}
    return {str(nfe): evidence.to_json() for nfe, evidence in found.items() if evidence}
