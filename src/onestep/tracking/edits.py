"""Editing as a caller of the served generator asks for it: pictures come in as base64."""

import base64
import binascii
import io
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image
from torch import Tensor

from onestep.editing import build_task
from onestep.editing.files import EditOrder, carry_out
from onestep.editing.projection import MASKS
from onestep.tracking.request import BadRequest, Edit, Request
from onestep.training.model import Model

OPTIONS = ("factor", "level", "first", "last", "frames")


def edited(model: Model, request: Request) -> np.ndarray:
    """uint8 [N, C, H, W]. Raises BadRequest for what cannot be edited so."""
    asked, seed = request.edit, request.seed
    if model.space.kind != "images":
        raise BadRequest(f"edit: this model makes {model.space.kind}")
    options = _options(asked)
    with TemporaryDirectory() as folder:
        try:
            if asked.mask is not None:
                options["mask"] = asked.mask if asked.mask in MASKS else _stored(asked.mask, model, folder, "mask")
            images = [_stored(image, model, folder, f"image {n}") for n, image in enumerate(asked.images or [], 1)]
            other = seed + 1 if asked.to is None else asked.to
            task = build_task(asked.task, options)
            order = EditOrder(asked.task, task, images, request.steps, seed, other, request.label)
            return carry_out(order, model)[0].edited
        except ValueError as problem:
            raise BadRequest(f"edit: {problem}".replace(f"{folder}/", "")) from None


def edit_levels(model: Model, request: Request) -> Tensor:
    """The noise levels of an edit's steps: its task's, or the model's where that has none of its own."""
    own = build_task(request.edit.task, _options(request.edit)).levels(request.steps, model.function.boundary)
    return model.levels(request.steps, "multistep") if own is None else own


def _options(asked: Edit) -> dict:
    """Of the task, without the mask."""
    return {name: getattr(asked, name) for name in OPTIONS if getattr(asked, name) is not None}


def _stored(picture: str, model: Model, folder: str, name: str) -> str:
    """The file of a picture that is no larger than the model's: what is larger is not even unpacked."""
    try:
        content = base64.b64decode(picture, validate=True)
        width, height = Image.open(io.BytesIO(content), formats=("PNG",)).size
    except (binascii.Error, OSError, Image.DecompressionBombError):
        raise ValueError(f"{name} is no PNG in base64") from None
    if height > model.space.shape[-2] or width > model.space.shape[-1]:
        raise ValueError(f"{name} has {width} x {height} pixels, more than what this model makes")
    file = Path(folder) / f"{name}.png"
    file.write_bytes(content)
    return str(file)
