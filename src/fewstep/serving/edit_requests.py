"""Edits for callers of the served generator, who send images as base64 PNGs."""

import base64
import io
from typing import Any

import numpy as np
from PIL import Image

from fewstep.editing import build_task
from fewstep.editing.edit_order import EditOrder, check_order
from fewstep.editing.image_files import read_image, read_mask
from fewstep.editing.projection import MASKS
from fewstep.models.model import Model
from fewstep.serving.request import BadRequest, EditRequest, Request
from fewstep.support.errors import InvalidInput

OPTIONS = ("factor", "level", "first", "last", "frames")


def order_of(request: Request, model: Model) -> EditOrder:
    """The edit that is asked for. Raises BadRequest for options or images that do not fit the task."""
    asked, seed = request.edit, request.seed
    assert asked is not None
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
        order = EditOrder(asked.task, task, given, request.nfe, seed, other, request.class_number)
        check_order(order, model)
    except InvalidInput as problem:
        raise BadRequest(f"edit: {problem}") from None
    return order


def _options(asked: EditRequest) -> dict[str, Any]:
    """The options of a task, except the mask."""
    return {name: getattr(asked, name) for name in OPTIONS if getattr(asked, name) is not None}


def _opened(picture: str, model: Model, name: str) -> io.BytesIO:
    """A PNG as a file. Raises ValueError if it is larger than the model's images, before any pixel is decompressed."""
    try:
        file = io.BytesIO(base64.b64decode(picture, validate=True))
        width, height = Image.open(file, formats=("PNG",)).size
    except Exception:  # letters beyond base64's, or of a decoder, which raises nearly anything
        raise InvalidInput(f"{name} must be a PNG in base64") from None
    # Points have no height and width: the task's own check refuses them.
    if any(side > most for side, most in zip((height, width), model.space.shape[1:], strict=False)):
        raise InvalidInput(f"{name} must be no larger than the images of this model, got {width} x {height} pixels")
    return file
