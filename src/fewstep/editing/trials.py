"""Runs every editing task of the parameters on a few images."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.data.space import DataSpace
from fewstep.data.store import ArrayStore
from fewstep.editing.gallery import Trial, try_pair, try_seeds, try_task
from fewstep.editing.image_files import read_images
from fewstep.editing.tasks import Interpolate, Task, build_task
from fewstep.models.model import Model


def try_tasks(
    images: ArrayStore,
    student: Model,
    teacher: Model | None,
    *,
    tasks: Mapping[str, Mapping[str, Any]],
    source: str | Path | None,
    degrade: bool,
    count: int,
    nfe: int,
    seed: int,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> tuple[list[Trial], np.ndarray]:
    """The result of each task, and the images that it was given (uint8 [N, C, H, W]).

    teacher: turns images into noise, so that the student can interpolate between them; None: no such interpolation.
    tasks: {name: options}. source: a picture or a folder of pictures; None: `count` held-out images. degrade: the
    images are complete, and each task first removes what it restores. nfe: network evaluations per image.
    on_progress(done, total, name). Raises ValueError for a task that does not fit the data.
    """
    built = fitting_tasks(tasks, student.space)
    if left_out := sorted(tasks.keys() - built.keys()):
        latents = student.space.encoding != "pixels"
        why = "it keeps a linear map of pixels, and" if latents else "it needs colour, and"
        what = f"{student.spec.name} sees latents" if latents else f"{student.space.name} have none"
        print(f"{', '.join(left_out)} is left out: {why} {what}.", flush=True)
    originals, labels = _originals(images, student, source, count)
    trials: list[Trial] = []
    for name, task in built.items():
        if not isinstance(task, Interpolate):
            trials.append(try_task(student, name, task, originals, nfe, seed, degrade, labels))
        else:
            trials.append(try_seeds(student, task, (seed, seed + 1), nfe))
            if teacher and len(originals) > 1:
                two = None if labels is None else labels[:2]
                trials.append(try_pair(student, teacher, task, originals[:2], nfe, seed, two))
        if on_progress:
            on_progress(len(trials), len(built) + ("interpolate" in built), name)
    return trials, originals


def fitting_tasks(tasks: Mapping[str, Mapping[str, Any]], space: DataSpace) -> dict[str, Task]:
    """{name: the task}, those of colour only for images that have some, those of pixels only for models that see them.

    Raises ValueError for one that does not fit.
    """
    grey = space.kind == "images" and space.shape[0] != 3
    every = {name: build_task(name, options) for name, options in tasks.items() if not (grey and name == "colorize")}
    built = {name: task for name, task in every.items() if space.encoding == "pixels" or not task.linear}
    for task in built.values():
        task.check(space)
    return built


def _originals(
    images: ArrayStore, student: Model, source: str | Path | None, count: int
) -> tuple[np.ndarray, Tensor | None]:
    """The images to edit, and their labels if they have labels and the student takes them."""
    if source:
        return read_images(source, student.space, source=images.source)[1], None
    labels = torch.from_numpy(np.array(images.labels("heldout")[:count]))
    known = student.spec.labels and bool((labels >= 0).all())
    return np.array(images.images("heldout")[:count]), labels if known else None
