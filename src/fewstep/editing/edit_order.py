"""An editing task with its images and options, as the command and the server get it."""

from dataclasses import dataclass

import numpy as np
import torch

from fewstep.editing.gallery import Trial, try_pair, try_seeds, try_task
from fewstep.editing.given_images import edited_images, given_values
from fewstep.editing.run import check_model, edit_images, interpolate, levels_of, seed_ends
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

    @property
    def count(self) -> int:
        """The number of images that it makes."""
        return self.task.frames if isinstance(self.task, Interpolate) else len(_given(self))


def check_order(order: EditOrder, model: Model, teacher: Model | None = None) -> None:
    """Raise ValueError if the order cannot be carried out."""
    check_model(model, order.task, order.nfe)
    levels_of(model, order.task, order.nfe)
    if not isinstance(order.task, Interpolate):
        _given(order)
    elif order.images is not None and teacher is None:
        raise InvalidInput(
            "an interpolation between images needs the teacher, which encodes them as noise (--teacher)."
        )


def carry_out(order: EditOrder, model: Model, teacher: Model | None = None) -> Trial:
    """The edited images with their measures. Raises ValueError before any work if the order cannot be carried out."""
    check_order(order, model, teacher)
    task, images, nfe, seed = order.task, order.images, order.nfe, order.seed
    if isinstance(task, Interpolate) and images is None:
        return try_seeds(model, task, (seed, order.other_seed), nfe, label=order.label)
    images = _given(order)
    labels = None if order.label is None else torch.full((len(images),), order.label)
    if not isinstance(task, Interpolate):
        return try_task(model, order.name, task, images, nfe, seed, order.degrade, labels)
    assert teacher is not None  # as was checked
    return try_pair(model, teacher, task, images, nfe, seed, labels)


def edited_part(order: EditOrder, model: Model, part: range) -> np.ndarray:
    """These of the images that carry_out makes without a teacher, uint8 [N, C, H, W], whatever the parts are."""
    task, places = order.task, slice(part.start, part.stop)
    if isinstance(task, Interpolate):
        labels = None if order.label is None else torch.tensor([order.label])
        ends = seed_ends(model, (order.seed, order.other_seed))
        return model.space.decode(interpolate(model, task, ends, order.nfe, labels, places))
    images = _given(order)[places]
    y, _ = given_values(model.space, task, images)
    labels = None if order.label is None else torch.full((len(part),), order.label)
    edited = edit_images(model, task, y, order.nfe, order.seed, labels, part)
    return edited_images(model.space, task, edited, images)


def _given(order: EditOrder) -> np.ndarray:
    """Its images. Raises ValueError if there are none."""
    if order.images is None:
        raise InvalidInput(f"{order.name} needs an image: give one (--image, or images in a request).")
    return order.images
