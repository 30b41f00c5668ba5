"""What the registry keeps of a version."""

from typing import TYPE_CHECKING

from fewstep.evaluation.results import Evaluation, Evidence
from fewstep.models.spec import levels_to_json
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

FACTS = ("name", "dataset", "recipe", "model_sha256", "levels", "judged_by", "evidence", "scores", "lineage")


def facts_for(model: "SavedModel", scores: Evaluation, name: str, lineage: dict, nfe: int = 1) -> dict:
    """The FACTS of a model with these scores. nfe: evaluations at which it is shown."""
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
    """The primary score at nfe, which a version is shown by, and what it was measured with.

    Raises ValueError where the model was not evaluated there.
    """
    how, row = scores.measurement, scores.row_of(model, nfe)
    name = f"{scores.primary}/nfe_{nfe:02d}"
    if row is None or scores.primary not in row.scores:
        raise InvalidInput(f"model {model!r} has no score {name}: evaluate it at {nfe} NFE before it is registered")
    measured = {"data_sha256": how.data_sha256, "extractor_sha256": how.extractor_sha256, "count": how.count}
    return {"score": name, "value": row.scores[scores.primary].mean, **measured, "provisional": scores.provisional}


def _evidence(scores: Evaluation, model: str) -> dict[str, dict]:
    """{NFE: what the gate looks at there}."""
    nfes = [row.nfe for row in scores.usual_rows_of(model)]
    return {str(nfe): Evidence.of(scores, model, nfe).to_json() for nfe in nfes}
