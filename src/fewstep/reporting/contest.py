"""Contestants of a comparison: their samples from the same noise."""

from collections.abc import Iterable

from PIL import Image

from fewstep.evaluation.results import Evaluation
from fewstep.models.model import SavedModel
from fewstep.pictures.drawing import draw_rows

SHOWN = 16
ROWS = 2  # of each student: at its fewest evaluations


def contest_sheet(
    teacher: SavedModel, reference: Evaluation, contestants: Iterable[tuple[SavedModel, Evaluation]]
) -> Image.Image:
    """Rows of samples from the same noise: the teacher at its most evaluations, each student at its fewest."""
    best = max(reference.rows_of(teacher.spec.name), key=lambda row: row.nfe)
    samples = teacher.load().sample(SHOWN, best.nfe, sampler=best.sampler)
    rows = [(f"teacher\n{best.nfe} NFE", samples)]
    for student, scores in contestants:
        model = student.load()
        for row in sorted(scores.usual_rows_of(student.spec.name), key=lambda row: row.nfe)[:ROWS]:
            samples = model.sample(SHOWN, row.nfe, levels=row.levels)
            rows.append((f"{row.model}\n{row.nfe} NFE", samples))
    return draw_rows(rows, f"{teacher.space.name}: the same noise, every method", SHOWN)
