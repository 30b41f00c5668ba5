"""An editing task with its images and options, as the command and the server get it."""

from dataclasses import dataclass

import numpy as np
import torch

from fewstep.editing.gallery import Trial, try_pair, try_seeds, try_task
from fewstep.editing.run import check_model
from fewstep.editing.tasks import Interpolate, Task
from fewstep.models.model import Model
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class EditOrder:
    """images: uint8 [N, C, H, W], if any. other_seed: the end of an interpolation. degrade: as in try_task."""

    name: str
    task: Task
    images: np.ndarray | None
    nfe: int
    seed: int
    other_seed: int
    label: int | None = None
    degrade: bool = False


def carry_out(order: EditOrder, model: Model, teacher: Model | None = None) -> Trial:
    """The edited images with their measures. Raises ValueError before any work if the order cannot be carried out."""
    task, images, nfe, seed = order.task, order.images, order.nfe, order.seed
    check_model(model, task, nfe)
    if isinstance(task, Interpolate) and images is None:
        return try_seeds(model, task, (seed, order.other_seed), nfe, label=order.label)
    if images is None:
        raise InvalidInput(f"{order.name} needs an image: give one (--image, or images in a request).")
    labels = None if order.label is None else torch.full((len(images),), order.label)
    if not isinstance(task, Interpolate):
        return try_task(model, order.name, task, images, nfe, seed, order.degrade, labels)
    if teacher is None:
        raise InvalidInput(
            "an interpolation between images needs the teacher, which encodes them as noise (--teacher)."
        )
    return try_pair(model, teacher, task, images, nfe, seed, labels)
