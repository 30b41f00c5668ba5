"""Contestants of a comparison: whether their scores belong side by side, and their samples from the same noise."""

from collections.abc import Iterable

from PIL import Image

from fewstep.evaluation.results import Evaluation
from fewstep.models.model import SavedModel
from fewstep.pictures.drawing import draw_rows
from fewstep.support.errors import InvalidInput

SHOWN = 16
ROWS = 2  # of each student: at its fewest evaluations


def check_contest(model: SavedModel, teacher: SavedModel, scored: Evaluation, reference: Evaluation) -> None:
    """Raise ValueError if these are not the model's scores, or do not stand beside those of the teacher."""
    name = model.spec.name
    again = f"kedro run --pipelines=compare --nodes=train_{name},score_{name}"
    if scored.models.get(name) != model.sha256:
        raise InvalidInput(f"the scores of {name} belong to another model than the one on disk: {again}")
    if scored.budget != reference.budget:
        raise InvalidInput(f"{name} had a budget of {scored.budget}, not {reference.budget}: {again}")
    if model.spec.provenance.teacher_sha256 not in (None, teacher.sha256):
        raise InvalidInput(f"{name} had another teacher: {again}")


def contest_sheet(
    teacher: SavedModel, reference: Evaluation, contestants: Iterable[tuple[SavedModel, Evaluation]]
) -> Image.Image:
    """Rows of samples from the same noise: the teacher at its most evaluations, each student at its fewest."""
    best = max(reference.rows_of(teacher.spec.name), key=lambda row: row.nfe)
    samples = teacher.load().sample(best.nfe, 0, range(SHOWN), sampler=best.sampler)
    rows = [(f"teacher\n{best.nfe} NFE", samples)]
    for student, scores in contestants:
        model = student.load()
        for row in sorted(scores.usual_rows_of(student.spec.name), key=lambda row: row.nfe)[:ROWS]:
            samples = model.sample(row.nfe, 0, range(SHOWN), levels=row.levels)
            rows.append((f"{row.model}\n{row.nfe} NFE", samples))
    return draw_rows(rows, f"{teacher.space.name}: the same noise, every method", SHOWN)
