"""Edits images by the student, without training."""

from PIL import Image

from fewstep.config.parameters import EditingParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.editing import draw_gallery, named_pictures, try_tasks
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import SavedModel
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace


def edit_gallery(
    images: ArrayStore,
    student: SavedModel,
    teacher: SavedModel | None,
    levels: StudentLevels | None,
    editing: EditingParameters,
):
    """The gallery, the measures of each task, and the edited images by their names.

    levels: at which the student was scored, if it was.
    """
    taught_by = teacher_of(student, teacher)
    model = (levels.at(student) if levels else student).load()
    with progress_bar("edit") as bar:
        trials, originals = try_tasks(images, model, taught_by and taught_by.load(), **dict(editing), on_progress=bar)
    edits = [{"task": trial.name, "count": len(trial.edited), **trial.measures} for trial in trials]
    gallery = draw_gallery(trials, originals, f"{student.space.name}: {student.spec.name}")
    return gallery, edits, named_pictures(trials)


def track_gallery(gallery: Image.Image, student: SavedModel, workplace: Workplace) -> None:
    """The gallery, on the MLflow run that trained the student."""
    workplace.attach(student, gallery=gallery)
