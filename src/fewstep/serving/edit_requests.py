"""Editing as a caller of the served generator asks for it: pictures come in as base64."""

import base64
import binascii
import io

import numpy as np
from PIL import Image
from torch import Tensor

from fewstep.editing import build_task, levels_of
from fewstep.editing.edit_order import EditOrder, carry_out
from fewstep.editing.image_files import read_image, read_mask
from fewstep.editing.projection import MASKS
from fewstep.models.model import Model
from fewstep.serving.request import BadRequest, Edit, Request
from fewstep.support.errors import InvalidInput

OPTIONS = ("factor", "level", "first", "last", "frames")


def edited(model: Model, request: Request) -> np.ndarray:
    """uint8 [N, C, H, W]. Raises BadRequest for what cannot be edited so."""
    asked, seed = request.edit, request.seed
    if model.space.kind != "images":
        raise BadRequest(f"edit: only images can be edited, and this model makes {model.space.kind}")
    options = _options(asked)
    try:
        if (mask := asked.mask) is not None:
            options["mask"] = mask if mask in MASKS else read_mask(_opened(mask, model, "mask"), "mask")
        task = build_task(asked.task, options)
        task.check(model.space)
        named = [(f"image {n}", picture) for n, picture in enumerate(asked.images or [], 1)]
        images = [read_image(_opened(picture, model, n), n, model.space, task.factor) for n, picture in named]
        other = seed + 1 if asked.to is None else asked.to
        given = np.stack(images) if images else None
        return carry_out(EditOrder(asked.task, task, given, request.steps, seed, other, request.label), model).edited
    except InvalidInput as problem:
        raise BadRequest(f"edit: {problem}") from None


def edit_levels(model: Model, request: Request) -> Tensor:
    """The noise levels of an edit's steps: its task's, or the model's where that has none of its own."""
    return levels_of(model, build_task(request.edit.task, _options(request.edit)), request.steps)


def _options(asked: Edit) -> dict:
    """Of the task, without the mask."""
    return {name: getattr(asked, name) for name in OPTIONS if getattr(asked, name) is not None}


def _opened(picture: str, model: Model, name: str) -> io.BytesIO:
    """The file of a picture that is no larger than the model's: what is larger is not even unpacked."""
    try:
        file = io.BytesIO(base64.b64decode(picture, validate=True))
        width, height = Image.open(file, formats=("PNG",)).size
    except (binascii.Error, OSError, Image.DecompressionBombError):
        raise InvalidInput(f"{name} must be a PNG in base64") from None
    if height > model.space.shape[-2] or width > model.space.shape[-1]:
        raise InvalidInput(f"{name} must be no larger than the images of this model, got {width} x {height} pixels")
    return file
