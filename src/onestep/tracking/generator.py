"""The registered generator: MLflow runs this file when it loads a version (pyfunc, models from code)."""

import base64
import io
import threading
from pathlib import Path

import numpy as np
import torch
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE
from mlflow.pyfunc import PythonModel
from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME
from mlflow.utils.yaml_utils import read_yaml
from PIL import Image
from pydantic import BaseModel, ConfigDict

from onestep.diffusion.names import check_name
from onestep.evaluation.choice import best_device
from onestep.training.model import Model

MOST_IMAGES, MOST_STEPS = 256, 64  # of one call, of one image
AT_ONCE = 64  # images in a batch


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
        self.turn = threading.Lock()  # a server calls from several threads, and one model fills the machine
        self.version = _version(Path(context.artifacts["model"]).parents[1])
        self.model = Model.load(context.artifacts["model"], best_device())
        if self.model.sha256 != context.model_config["model_sha256"]:
            raise MlflowException("the weights are not those that were registered: this version is not served")

    def predict(self, context, model_input: list[Request], params=None):
        """A dictionary per request: images (base64 PNGs) or points, and what made them."""
        for request in model_input:
            self._check(request)
        if (total := sum(request.num_images for request in model_input)) > MOST_IMAGES:
            raise BadRequest(f"{total} images in one call: they are at most {MOST_IMAGES}")
        with self.turn:
            return [self._make(request) for request in model_input]

    def _make(self, request: Request) -> dict:
        model, samples = self.model, []
        for start in range(0, request.num_images, AT_ONCE):
            indices = range(start, min(start + AT_ONCE, request.num_images))
            labels = None if request.label is None else torch.full((len(indices),), request.label)
            samples.extend(model.sample(request.steps, request.seed, indices, labels))
        if model.space.kind == "points":
            shown = {"points": np.stack(samples).tolist()}
        else:
            shown = {"images": [_png(image) for image in samples]}
        made_by = {"levels": model.levels(request.steps).tolist(), "model_sha256": model.sha256, **self.version}
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
        try:
            self.model.levels(request.steps)
        except ValueError as problem:
            raise BadRequest(f"steps = {request.steps}: {problem}") from None
        classes = len(self.model.space.classes) if self.model.spec["labels"] else 0
        if request.label is not None and not 0 <= request.label < classes:
            allowed = f"between 0 and {classes - 1}" if classes else "left out: this model was trained without labels"
            raise BadRequest(f"label = {request.label}: it is {allowed}")


def _version(folder: Path) -> dict:
    """The registered name and version of what was loaded by them; MLflow writes them beside it."""
    if not (folder / REGISTERED_MODEL_META_FILE_NAME).exists():
        return {"model": None, "version": None}
    facts = read_yaml(str(folder), REGISTERED_MODEL_META_FILE_NAME)
    return {"model": facts["model_name"], "version": int(facts["model_version"])}


def _png(image: np.ndarray) -> str:
    """[C, H, W] uint8 -> base64 of a PNG."""
    file = io.BytesIO()
    Image.fromarray(image[0] if len(image) == 1 else image.transpose(1, 2, 0)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


set_model(Generator())
