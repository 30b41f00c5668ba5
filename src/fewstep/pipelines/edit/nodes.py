"""Edits images by the student, without training."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import torch

from fewstep.console import progress_bar
from fewstep.editing import Trial, build_task, draw_gallery, read_images, try_pair, try_seeds, try_task, write_edited
from fewstep.pipelines.levels import at_found_levels
from fewstep.pipelines.training import run_of
from fewstep.support.device import best_device


def edit_gallery(images, student, teacher, editing: dict, runs: Path):
    """The gallery, the measures of each task, and what writes the edited images to a folder."""
    trials, originals = try_tasks(images, student, teacher, editing, runs)
    edits = [{"task": trial.name, "count": len(trial.edited), **trial.measures} for trial in trials]
    gallery = draw_gallery(trials, originals, f"{student.space.name}: {student.spec['name']}")
    return gallery, edits, partial(_write, trials)


def try_tasks(images, student, teacher, editing: dict, runs: Path) -> tuple[list[Trial], np.ndarray]:
    """What each task comes to, at the best levels that were found, and the images that it was tried on."""
    student = at_found_levels(student, runs)
    for model in (student, teacher):
        model.function.to(best_device())
    tasks = {name: build_task(name, options) for name, options in editing["tasks"].items()}
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


def _write(trials: list[Trial], folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    write_edited(trials, folder)


def _chosen(images, student, editing: dict):
    """Held-out images with their labels, or the pictures that the parameters name."""
    if editing["source"]:
        return read_images(editing["source"], student.space)[1], None
    count = editing["count"]
    labels = torch.from_numpy(np.array(images.labels("heldout")[:count]))
    known = student.spec["labels"] and bool((labels >= 0).all())
    return np.array(images.images("heldout")[:count]), labels if known else None


def _try(name, task, student, teacher, originals, labels, editing: dict) -> list[Trial]:
    steps, seed = editing["steps"], editing["seed"]
    if name != "interpolate":
        return [try_task(student, name, task, originals, steps, seed, editing["degrade"], labels)]
    pair = originals[:2], steps, seed, None if labels is None else labels[:2]
    found = [try_seeds(student, task, (seed, seed + 1), steps)]
    return [*found, try_pair(student, teacher, task, *pair)] if len(originals) > 1 else found


def track_gallery(gallery, student, runs: Path, *records) -> None:
    """The gallery, on the MLflow run that trained the student."""
    picture = runs / student.spec["provenance"]["run"] / "gallery.png"
    run = run_of(student, runs, *records)
    gallery.save(picture)
    run.attach(picture)
