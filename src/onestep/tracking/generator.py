"""The registered generator: MLflow runs this file when it loads a version (pyfunc, models from code)."""

import base64
import io

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from PIL import Image
from pydantic import BaseModel, ConfigDict

from onestep.diffusion.names import check_name
from onestep.training.model import Model

MOST_IMAGES, MOST_STEPS = 256, 64


class Request(BaseModel):
    """num_images: 1 to 256. steps: network evaluations an image, 1 to 64. label: a class by its number."""

    model_config = ConfigDict(extra="allow")

    num_images: int = 1
    steps: int = 1
    seed: int = 0
    label: int | None = None


class BadRequest(MlflowException, ValueError):
    """What a caller got wrong: a ValueError in Python, a 400 with a sentence from a server."""

    def __init__(self, message: str):
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)


class Generator(PythonModel):
    def load_context(self, context) -> None:
        self.model = Model.load(context.artifacts["model"])
        if self.model.sha256 != context.model_config["model_sha256"]:
            raise MlflowException("the weights are not those that were registered: this version is not served")

    def predict(self, context, model_input: list[Request], params=None):
        """A dictionary per request: images (base64 PNGs) or points, and what made them."""
        for request in model_input:
            self._check(request)
        return [self._make(request) for request in model_input]

    def _make(self, request: Request) -> dict:
        model = self.model
        labels = None if request.label is None else torch.full((request.num_images,), request.label)
        samples = model.sample(request.steps, request.seed, range(request.num_images), labels)
        shown = {"points": samples.tolist()} if model.space.kind == "points" else {"images": [_png(x) for x in samples]}
        made_by = {"levels": model.levels(request.steps).tolist(), "model_sha256": model.sha256}
        return {**shown, "steps": request.steps, "seed": request.seed, "label": request.label, **made_by}

    def _check(self, request: Request) -> None:
        try:
            for name in request.model_extra or {}:
                check_name("field of a request", name, Request.model_fields)
        except ValueError as problem:
            raise BadRequest(str(problem)) from None
        for name, most in (("num_images", MOST_IMAGES), ("steps", MOST_STEPS)):
            if not 1 <= getattr(request, name) <= most:
                raise BadRequest(f"{name} = {getattr(request, name)}: it is between 1 and {most}")
        classes = len(self.model.space.classes) if self.model.spec["labels"] else 0
        if request.label is not None and not 0 <= request.label < classes:
            allowed = f"between 0 and {classes - 1}" if classes else "left out: this model was trained without labels"
            raise BadRequest(f"label = {request.label}: it is {allowed}")


def _png(image: np.ndarray) -> str:
    """[C, H, W] uint8 -> base64 of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


set_model(Generator())
