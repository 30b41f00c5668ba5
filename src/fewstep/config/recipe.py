"""A recipe, typed: one way to train, and whether it fits its data, its teacher and the workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, fields
from inspect import Parameter, signature
from typing import Annotated, Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, create_model, model_validator
from pydantic import field_validator as check
from torch import nn

from fewstep.data.space import DataSpace
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN
from fewstep.losses.distances import check_distance
from fewstep.models.model import Model, build_function
from fewstep.networks import NETWORKS, arguments_of, check_arguments
from fewstep.objectives import Objective, build_objective, objective_class
from fewstep.preconditioning import PRECONDITIONERS
from fewstep.support.names import check_name
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.job import needs_teacher
from fewstep.training.start import check_start

NFE = Annotated[int, Field(ge=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as NumPy has them


class Section(BaseModel):
    """A part of the parameters: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Recipe(Section):
    """One way to train: the teacher's, or a student's."""

    name: str
    objective: dict[str, Any]
    training: TrainingSettings
    network: dict[str, Any]
    preconditioning: dict[str, Any]
    start: Literal["scratch", "teacher"] = "scratch"
    start_new: tuple[str, ...] = ()
    levels: dict[NFE, list[float]] = {}
    picture_nfe: tuple[NFE, ...] = (1,)
    seed: Seed = 0

    @check("network")
    @classmethod
    def _network(cls, spec: dict) -> dict:
        name = check_name("network", spec.get("name"), NETWORKS)
        spec = {**spec, **_typed(spec, arguments_of(name))}
        check_arguments(spec)
        return spec

    @check("preconditioning")
    @classmethod
    def _preconditioning(cls, spec: dict) -> dict:
        name = check_name("preconditioner", spec.get("name"), PRECONDITIONERS)
        arguments = _boundary_of(name)
        for argument in spec.keys() - {"name"}:
            check_name(f"argument of the preconditioner {name!r}", argument, [p.name for p in arguments])
        return {**spec, **_typed(spec, arguments)}

    @check("objective")
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

    @property
    def method(self) -> type[Objective]:
        """The class of the objective."""
        return objective_class(self.objective["name"])

    @property
    def needs_teacher(self) -> bool:
        """As fewstep.training.job has it."""
        return needs_teacher(self.objective, self.start)

    @property
    def trainer(self) -> tuple[str, str]:
        """The pipeline that trains a student, and why this one."""
        return ("distill", "has a teacher") if self.needs_teacher else ("train", "learns from data alone")

    @model_validator(mode="after")
    def _agree(self):
        method, wrapper = self.method, self.preconditioning["name"]
        check_name(f"preconditioner for {self.objective['name']}", wrapper, (method.preconditioner,))
        boundary = self.preconditioning.get("boundary", SIGMA_MIN)
        lowest = self.objective.get("sigma_min", boundary)
        if lowest != boundary and _boundary_of(wrapper):
            raise ValueError(f"sigma_min is {lowest}, and the boundary of the preconditioner {boundary}: they are one.")
        if method.sampler == "heun" and any(nfe % 2 == 0 for nfe in self.picture_nfe):
            raise ValueError(
                f"picture_nfe is {list(self.picture_nfe)}: Heun's method makes an odd number of evaluations."
            )
        if method.sampler == "heun" and self.levels:
            raise ValueError(f"levels are {self.levels}: Heun's are those of Karras et al. 2022, and none are chosen.")
        if self.objective.get("sigma_max", SIGMA_MAX) != SIGMA_MAX:
            raise ValueError(f"sigma_max is {self.objective['sigma_max']}: samplers start at {SIGMA_MAX:g}.")
        for nfe, levels in self.levels.items():
            if len(levels) != nfe - 1 or sorted(set(levels), reverse=True) != levels:
                raise ValueError(f"levels of {nfe} NFE are {levels}: {nfe - 1} that decrease, after {SIGMA_MAX:g}.")
            if levels and not boundary < levels[-1] <= levels[0] < SIGMA_MAX:
                raise ValueError(f"levels of {nfe} NFE are {levels}: between {boundary:g} and {SIGMA_MAX:g}.")
        return self

    def check_fits(self, space: DataSpace, teacher: "Recipe", workers: int) -> None:
        """Raise ValueError if it cannot be trained on these data, after this teacher's recipe, by so many workers."""
        with self._named():
            objective = build_objective(self.objective)
            self.training.micro_batches(max(1, workers), objective.needs_whole_batch)
            if self.training.labels and not space.classes:
                raise ValueError(f"training.labels is true, and the data {space.name} have no labels.")
            labels = teacher.training.labels
            self._check_labels(labels, labels and teacher.training.label_dropout > 0)
            function = self._function(space)
            objective.check_student(function)
            if self.start == "teacher":
                check_start(function.network, teacher._function(space).network, self.start_new)

    def check_teacher(self, space: DataSpace, teacher: Model) -> None:
        """Raise ValueError if it cannot be trained after this teacher, which may be one from elsewhere."""
        with self._named():
            if "source" in teacher.spec["provenance"] and teacher.space.scale != space.scale:
                raise ValueError(
                    f"the teacher's values have the scale {teacher.space.scale:g}, and the data's {space.scale:g}: "
                    f"kedro run --pipelines=ingest --params=data.scale={teacher.space.scale:g}"
                )
            self._check_labels(teacher.spec["labels"], teacher.knows_no_label)
            if self.start == "teacher":
                check_start(self._function(space).network, teacher.function.network, self.start_new)

    def _check_labels(self, known: bool, hidden: bool) -> None:
        """known, hidden: whether the teacher was trained with labels, and with labels that are hidden at times."""
        if self.training.labels and self.needs_teacher and not known:
            raise ValueError("training.labels is true, and the teacher knows none: so must be teacher.training.labels.")
        if self.objective.get("guidance", 1) != 1 and not (self.training.labels and hidden):
            raise ValueError(
                f"objective.guidance is {self.objective['guidance']}: then training.labels is true, and "
                "teacher.training.label_dropout above 0, so that the teacher knows images without a label too."
            )

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Errors begin with its name."""
        try:
            yield
        except ValueError as problem:
            raise ValueError(f"{self.name}: {problem}") from None

    def _function(self, space: DataSpace) -> nn.Module:
        """It, without weights."""
        with torch.device("meta"):
            return build_function({**self.model_dump(), "labels": self.training.labels}, space)


def _boundary_of(preconditioner: str) -> list[Parameter]:
    """The argument of this name, where a preconditioner has it."""
    return [p for p in signature(PRECONDITIONERS[preconditioner]).parameters.values() if p.name == "boundary"]


def _typed(spec: dict, parameters: list[Parameter]) -> dict:
    """The arguments of a spec that are among these parameters, of the types that they have there."""
    known = {p.name: (p.annotation, ...) for p in parameters if p.name in spec}
    return create_model("Arguments", **known).model_validate({n: spec[n] for n in known}).model_dump(mode="json")
