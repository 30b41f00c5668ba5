"""What a caller of the served generator asks for, and how a bad request is told."""

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from fewstep.editing.tasks import Interpolate
from fewstep.models.model import Model
from fewstep.support.errors import InvalidInput, UserError
from fewstep.support.names import check_name
from fewstep.support.validation import error_of

MOST_IMAGES, MOST_STEPS = 256, 64  # of one call, of one image
MOST_EVALUATIONS = 1024  # of one call, images x steps: all of the images by 4 steps, 16 of them by all of the steps


class Wrong(str):
    """In place of a field's value, why it cannot be: MLflow would tell that with the whole request beside it."""


class Edit(BaseModel):
    """As `fewstep edit` has it. images: base64 PNGs. mask: one too, or a name of the editing masks."""

    model_config = ConfigDict(extra="forbid")

    task: str
    images: list[str] | None = None
    mask: str | None = None
    factor: int | None = None
    level: float | None = None
    first: float | None = None
    last: float | None = None
    frames: int | None = Field(None, ge=2, le=MOST_IMAGES)
    to: int | None = None

    @property
    def count(self) -> int:
        """How many images it makes."""
        return (self.frames or Interpolate.frames) if self.task == "interpolate" else len(self.images or [])


class Request(BaseModel):
    """num_images: 1 to 256. steps: network evaluations an image, 1 to 64; num_images x steps: to 1024. label: a class
    by its number.

    edit: what to make of given images, in place of num_images. reload: look at the registry first, and serve the
    version that now holds the alias that the server follows.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    num_images: int = 1
    steps: int = 1
    seed: int = 0
    label: int | None = None
    edit: Edit | None = None
    reload: bool = False

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_wrong(cls, value, validate, info):
        try:
            return validate(value)
        except ValidationError as problem:
            first = problem.errors()[0]
            return Wrong(error_of(".".join([info.field_name, *map(str, first["loc"])]), first))

    @property
    def count(self) -> int:
        """How many images are asked for."""
        return self.edit.count if self.edit else self.num_images


class Refusal(MlflowException, UserError):
    """Its message stays a sentence: MLflow's server would put the whole request before it, pictures and all."""

    def __setattr__(self, name, value):
        if name != "message" or "message" not in vars(self):
            super().__setattr__(name, value)


class BadRequest(Refusal, ValueError):
    """What a caller got wrong: a ValueError in Python, a 400 with a sentence from a server."""

    def __init__(self, message: str):
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)


class NotReloaded(Refusal):
    """A 503 from a server, which serves what it served before."""

    def __init__(self, message: str):
        super().__init__(message, error_code=TEMPORARILY_UNAVAILABLE)


def check_requests(requests: list[Request], model: Model) -> None:
    """Raise BadRequest unless a call of these can be answered by this model."""
    for request in requests:
        _check(request, model)
    if (images := sum(request.count for request in requests)) > MOST_IMAGES:
        raise BadRequest(f"one call must ask for at most {MOST_IMAGES} images, got {images}")
    if (evaluations := sum(request.count * request.steps for request in requests)) > MOST_EVALUATIONS:
        raise BadRequest(
            f"one call must make at most {MOST_EVALUATIONS} evaluations (images x steps), got {evaluations}"
        )


def check_fields(request: Request) -> None:
    """Raise BadRequest for a field that there is not, or for a value that it cannot have."""
    try:
        for name, value in request:
            check_name("field", name, Request.model_fields, "a request")
            if isinstance(value, Wrong):
                raise InvalidInput(value)
    except InvalidInput as problem:
        raise BadRequest(str(problem)) from None


def _check(request: Request, model: Model) -> None:
    check_fields(request)
    for name, most in (("num_images", MOST_IMAGES), ("steps", MOST_STEPS)):
        if not 1 <= getattr(request, name) <= most:
            raise BadRequest(f"{name} must be between 1 and {most}, got {getattr(request, name)}")
    try:
        model.levels(request.steps)
    except InvalidInput as problem:
        raise BadRequest(f"steps must be another number, got {request.steps}: {problem}") from None
    classes = len(model.space.classes) if model.spec.labels else 0
    if request.label is not None and not 0 <= request.label < classes:
        allowed = f"between 0 and {classes - 1}" if classes else "left out (this model was trained without labels)"
        raise BadRequest(f"label must be {allowed}, got {request.label}")
