"""Edits images by the student, without training."""

import numpy as np
import torch
from PIL import Image

from fewstep.config.parameters import EditingParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.editing import Trial, build_task, draw_gallery, named_pictures, read_images, try_pair, try_seeds, try_task
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
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
    trials, originals = try_tasks(images, model, taught_by and taught_by.load(), editing)
    edits = [{"task": trial.name, "count": len(trial.edited), **trial.measures} for trial in trials]
    gallery = draw_gallery(trials, originals, f"{student.space.name}: {student.spec.name}")
    return gallery, edits, named_pictures(trials)


def try_tasks(
    images: ArrayStore, student: Model, teacher: Model | None, editing: EditingParameters
) -> tuple[list[Trial], np.ndarray]:
    """What each task comes to, and the images that it was tried on.

    teacher: carries images to noise, between which the student interpolates; without it that is left out.
    """
    tasks = {name: build_task(name, options) for name, options in editing.tasks.items()}
    if student.space.kind == "images" and student.space.shape[0] != 3 and tasks.pop("colorize", None):
        print(f"colorize is left out: it needs colour, and {student.space.name} have none.", flush=True)
    for task in tasks.values():
        task.check(student.space)
    originals, labels = _chosen(images, student, editing)
    trials: list[Trial] = []
    with progress_bar("edit") as bar:
        for name, task in tasks.items():
            trials += _try(name, task, student, teacher, originals, labels, editing)
            bar(len(trials), len(tasks) + ("interpolate" in tasks), name)
    return trials, originals


def _chosen(images: ArrayStore, student: Model, editing: EditingParameters):
    """Held-out images with their labels, or the pictures that the parameters name."""
    if editing.source:
        return read_images(editing.source, student.space)[1], None
    count = editing.count
    labels = torch.from_numpy(np.array(images.labels("heldout")[:count]))
    known = student.spec.labels and bool((labels >= 0).all())
    return np.array(images.images("heldout")[:count]), labels if known else None


def _try(name, task, student: Model, teacher: Model | None, originals, labels, editing) -> list[Trial]:
    steps, seed = editing.steps, editing.seed
    if name != "interpolate":
        return [try_task(student, name, task, originals, steps, seed, editing.degrade, labels)]
    pair = originals[:2], steps, seed, None if labels is None else labels[:2]
    found = [try_seeds(student, task, (seed, seed + 1), steps)]
    return [*found, try_pair(student, teacher, task, *pair)] if teacher and len(originals) > 1 else found


def track_gallery(gallery: Image.Image, student: SavedModel, workplace: Workplace) -> None:
    """The gallery, on the MLflow run that trained the student."""
    workplace.attach(student, gallery=gallery)
