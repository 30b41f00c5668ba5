"""Requests to the served generator, and how bad ones are answered."""

from typing import Annotated, Any

from mlflow.exceptions import MlflowException

# MLflow's error codes, which its server turns into a status: 400 and 503.
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE, TEMPORARILY_UNAVAILABLE
from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)

from fewstep.editing.tasks import Interpolate
from fewstep.models.model import Model
from fewstep.serving.most import LARGEST_SEED, MOST_EVALUATIONS, MOST_IMAGES, MOST_NFE
from fewstep.support.errors import InvalidInput, UserError, shown
from fewstep.support.names import check_name
from fewstep.support.validation import error_of

# Looked up among the model's classes. MLflow's schema has no type for "a word or a number".
Label = Annotated[str | None, PlainValidator(lambda value: value)]


class Wrong(str):
    """An error message in place of an invalid field. If it were raised at once, MLflow would echo the whole request."""


class EditRequest(BaseModel):
    """The options of `fewstep edit`. images: base64 PNGs. mask: a base64 PNG, or the name of an editing mask."""

    model_config = ConfigDict(extra="forbid")

    task: str
    images: list[str] | None = None
    mask: str | None = None
    factor: int | None = None
    level: float | None = None
    first: float | None = None
    last: float | None = None
    frames: int | None = Field(None, ge=2, le=MOST_IMAGES)
    to: int | None = Field(None, ge=-LARGEST_SEED, le=LARGEST_SEED)

    @property
    def count(self) -> int:
        """The number of images that the edit makes."""
        return (self.frames or Interpolate.frames) if self.task == "interpolate" else len(self.images or [])


class Request(BaseModel):
    """Images to draw, or to edit.

    num_images: 1 to 256. nfe: network evaluations per image, 1 to 64, with num_images x nfe at most 1024; its former
    name "steps" works too. label: a class by its name or number. edit: images to edit, in place of num_images. reload:
    first look up which version has the alias that the server follows, and serve that one.
    """

    model_config = ConfigDict(extra="allow", strict=True)

    num_images: int = 1
    nfe: int = Field(1, validation_alias=AliasChoices("nfe", "steps"))
    seed: int = Field(0, ge=-LARGEST_SEED, le=LARGEST_SEED)
    label: Label = None
    edit: EditRequest | None = None
    reload: bool = False

    @field_validator("*", mode="wrap")
    @classmethod
    def _or_wrong(cls, value: Any, validate: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
        try:
            return validate(value)
        except ValidationError as problem:
            first = problem.errors()[0]
            return Wrong(error_of(".".join([str(info.field_name), *map(str, first["loc"])]), first))

    @property
    def class_number(self) -> int | None:
        """The number of the class that is asked for: `checked` has put it in place of its name."""
        return None if self.label is None else int(self.label)

    @property
    def count(self) -> int:
        """The number of images that the request asks for."""
        return self.edit.count if self.edit else self.num_images


class Refusal(MlflowException, UserError):
    """An error that keeps its message: MLflow's server would put the whole request, with its images, in front of it."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name != "message" or "message" not in vars(self):
            super().__setattr__(name, value)


class BadRequest(Refusal, ValueError):
    """A mistake of the caller: a ValueError in Python, status 400 from a server."""

    def __init__(self, message: str):
        super().__init__(message, error_code=INVALID_PARAMETER_VALUE)


class NotReloaded(Refusal):
    """Status 503 from a server, which continues with its current version."""

    def __init__(self, message: str):
        super().__init__(message, error_code=TEMPORARILY_UNAVAILABLE)


def checked(requests: list[Request], model: Model) -> list[Request]:
    """The requests with their classes by number. Raises BadRequest unless this model can answer a call with them."""
    requests = [_checked(request, model) for request in requests]
    if (images := sum(request.count for request in requests)) > MOST_IMAGES:
        raise BadRequest(f"one call must ask for at most {MOST_IMAGES} images, got {images}")
    if (evaluations := sum(request.count * request.nfe for request in requests)) > MOST_EVALUATIONS:
        raise BadRequest(f"one call must make at most {MOST_EVALUATIONS} evaluations (images x nfe), got {evaluations}")
    return requests


def check_fields(request: Request) -> None:
    """Raise BadRequest for an unknown field or an invalid value."""
    try:
        for name, value in request:
            check_name("field", name, Request.model_fields, "a request")
            if isinstance(value, Wrong):
                raise InvalidInput(value)
    except InvalidInput as problem:
        raise BadRequest(str(problem)) from None


def _checked(request: Request, model: Model) -> Request:
    check_fields(request)
    for name, most in (("num_images", MOST_IMAGES), ("nfe", MOST_NFE)):
        if not 1 <= getattr(request, name) <= most:
            raise BadRequest(f"{name} must be between 1 and {most}, got {shown(getattr(request, name))}")
    try:
        model.levels(request.nfe)
    except InvalidInput as problem:
        raise BadRequest(f"nfe must be another number, got {request.nfe}: {problem}") from None
    if request.label is None:
        return request
    try:
        return request.model_copy(update={"label": model.class_of(request.label)})
    except InvalidInput as problem:
        raise BadRequest(str(problem)) from None
