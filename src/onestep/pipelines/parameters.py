"""Every parameter of the project, typed: what conf/ may say. A wrong one fails here, before any work."""

from dataclasses import asdict, fields
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator, model_validator

from onestep.diffusion.distances import check_distance
from onestep.diffusion.names import check_name
from onestep.launch import LaunchSettings
from onestep.networks import check_arguments
from onestep.objectives import objective_class
from onestep.preconditioning import PRECONDITIONERS
from onestep.training.settings import TrainingSettings


class Section(BaseModel):
    """A part of the parameters: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataParameters(Section):
    """Where images come from and how they are split."""

    source: dict[str, Any]
    heldout: float = Field(0.25, gt=0, lt=1)
    seed: int = 0


class Recipe(Section):
    """One way to train: the teacher's, or a student's."""

    objective: dict[str, Any]
    training: TrainingSettings
    network: dict[str, Any]
    preconditioning: dict[str, Any]
    start: Literal["scratch", "teacher"] = "scratch"
    levels: dict[int, list[float]] = {}
    picture_nfe: tuple[int, ...] = (1,)
    seed: int = 0

    @field_validator("network")
    @classmethod
    def _network(cls, spec: dict) -> dict:
        check_arguments(spec)
        return spec

    @field_validator("preconditioning")
    @classmethod
    def _preconditioning(cls, spec: dict) -> dict:
        check_name("preconditioner", spec.get("name"), PRECONDITIONERS)
        return spec

    @field_validator("objective")
    @classmethod
    def _objective(cls, spec: dict) -> dict:
        constants = dict(spec)
        method = objective_class(constants.pop("name", None))
        for name in constants:
            check_name(f"constant of {spec['name']}", name, [f.name for f in fields(method)])
        distance = constants.get("distance", "l2")
        if (distance.get("name") if isinstance(distance, dict) else distance) != "lpips":  # its files: before a run
            check_distance(distance)
        return {"name": spec["name"], **asdict(TypeAdapter(method).validate_python(constants))}


class EvaluationParameters(Section):
    """count: samples of each score. full: three seeds, for a figure that is not provisional."""

    features: str = "classifier"
    features_weights: str | None = None
    count: int = Field(400, ge=2)
    seeds: tuple[int, ...] = (0,)
    full: bool = False
    full_seeds: tuple[int, ...] = (0, 1, 2)
    batch_size: int = Field(100, ge=1)
    student_nfe: tuple[int, ...] = (1, 2, 3, 5, 10)
    heun_nfe: tuple[int, ...] = (3, 5, 9, 17, 35)
    euler_nfe: tuple[int, ...] = (1, 2, 3, 5, 10)


class Parameters(Section):
    """All of them."""

    env: str
    recipe: str
    dataset: str
    fresh: bool = False
    data: DataParameters
    network: dict[str, Any]
    teacher: Recipe
    student: Recipe
    evaluation: EvaluationParameters
    launch: LaunchSettings

    @model_validator(mode="after")
    def _shared_batches(self):
        for recipe in (self.teacher, self.student):
            recipe.training.micro_batches(max(1, self.launch.workers))
        return self
