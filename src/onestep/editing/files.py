"""A task as a person asks for it, on pictures in files."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from onestep.editing.gallery import Trial, try_pair, try_seeds, try_task
from onestep.editing.pictures import read_images
from onestep.editing.run import check_model
from onestep.editing.tasks import Interpolate, Task


@dataclass(frozen=True)
class EditOrder:
    """images: pictures or folders of them. other_seed: the far end of an interpolation. degrade: as in try_task."""

    name: str
    task: Task
    images: Sequence[str]
    steps: int
    seed: int
    other_seed: int
    label: int | None = None
    degrade: bool = False


def carry_out(order: EditOrder, model, teacher=None) -> tuple[Trial, list[str]]:
    """What was made, and the names of the pictures it was made of. Raises ValueError before any work."""
    task, steps, seed = order.task, order.steps, order.seed
    check_model(model, task, steps)
    if isinstance(task, Interpolate) and not order.images:
        return try_seeds(model, task, (seed, order.other_seed), steps, label=order.label), []
    if not order.images:
        raise ValueError(f"{order.name} edits an image: name one (--image).")
    names, images = _read(order, model.space)
    labels = None if order.label is None else torch.full((len(images),), order.label)
    if not isinstance(task, Interpolate):
        return try_task(model, order.name, task, images, steps, seed, order.degrade, labels), names
    if teacher is None:
        raise ValueError("an interpolation between images needs the teacher that carries them to noise (--teacher).")
    return try_pair(model, teacher, task, images, steps, seed, labels), []


def _read(order: EditOrder, space) -> tuple[list[str], np.ndarray]:
    found = [read_images(source, space, getattr(order.task, "factor", 1)) for source in order.images]
    return [name for names, _ in found for name in names], np.concatenate([images for _, images in found])
