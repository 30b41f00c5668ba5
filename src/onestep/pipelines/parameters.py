"""Every parameter of the project, typed: what conf/ may say. A wrong one fails here, before any work."""

from dataclasses import asdict, fields
from inspect import signature
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, create_model, model_validator
from pydantic import field_validator as check

from onestep.budget import Budget
from onestep.data import DataSpace, load_source
from onestep.diffusion.distances import check_distance
from onestep.diffusion.levels import SIGMA_MAX, SIGMA_MIN
from onestep.diffusion.names import check_name
from onestep.editing import build_task
from onestep.evaluation.features import check_features
from onestep.evaluation.ladder import FULL
from onestep.evaluation.scores import FEWEST
from onestep.launch import LaunchSettings
from onestep.networks import NETWORKS, arguments_of, check_arguments
from onestep.objectives import Objective, build_objective, objective_class
from onestep.preconditioning import PRECONDITIONERS
from onestep.samplers import DENOISER_SAMPLERS, count_levels
from onestep.tracking import Rules
from onestep.training.job import needs_teacher
from onestep.training.loop import start_from
from onestep.training.model import build_function
from onestep.training.settings import TrainingSettings


class Section(BaseModel):
    """A part of the parameters: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"{list(values)}: no two are the same.")
    return values


def _of_samplers(nfes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    for sampler in nfes:
        check_name("sampler of a teacher", sampler, DENOISER_SAMPLERS)
        for nfe in nfes[sampler]:
            count_levels(sampler, nfe)
    return nfes


NFE = Annotated[int, Field(ge=1)]
NFEs = Annotated[tuple[NFE, ...], AfterValidator(_distinct)]
TeacherNFEs = Annotated[dict[str, NFEs], Field(min_length=1), AfterValidator(_of_samplers)]
Seed = Annotated[int, Field(ge=0)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1), AfterValidator(_distinct)]


class DataParameters(Section):
    """Where images come from and how they are split. scale: of their values; measured if not given."""

    source: dict[str, Any]
    heldout: float = Field(0.25, gt=0, lt=1)
    scale: float | None = Field(None, gt=0, allow_inf_nan=False)
    seed: Seed = 0

    @check("source")
    @classmethod
    def _source(cls, spec: dict) -> dict:
        load_source(spec)
        return spec


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
        arguments = [p for p in signature(PRECONDITIONERS[name]).parameters.values() if p.name == "boundary"]
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
        """As onestep.training.job has it."""
        return needs_teacher(self.objective, self.start)

    @model_validator(mode="after")
    def _agree(self):
        method, wrapper = self.method, self.preconditioning["name"]
        check_name(f"preconditioner for {self.objective['name']}", wrapper, (method.preconditioner,))
        boundary = self.preconditioning.get("boundary", SIGMA_MIN)
        lowest = self.objective.get("sigma_min", boundary)
        if lowest != boundary and wrapper == "consistency":
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
        """Raise ValueError if it cannot be trained on these data, after this teacher, by so many workers."""
        try:
            self.training.micro_batches(max(1, workers))
            if self.training.labels and not space.classes:
                raise ValueError(f"training.labels is true, and the data {space.name} have no labels.")
            if self.training.labels and self.needs_teacher and not teacher.training.labels:
                raise ValueError("training.labels is true: so must be teacher.training.labels.")
            if self.objective.get("guidance", 1) != 1 and not (self.training.labels and teacher.training.label_dropout):
                raise ValueError(
                    f"objective.guidance is {self.objective['guidance']}: then training.labels is true, and "
                    "teacher.training.label_dropout above 0, so that the teacher knows images without a label too."
                )
            function = self._function(space)
            build_objective(self.objective).check_student(function)
            if self.start == "teacher":
                start_from(function.network, teacher._function(space).network, self.start_new)
        except ValueError as problem:
            raise ValueError(f"{self.name}: {problem}") from None

    def _function(self, space: DataSpace) -> torch.nn.Module:
        """It, without weights."""
        with torch.device("meta"):
            return build_function({**self.model_dump(), "labels": self.training.labels}, space)


def _typed(spec: dict, parameters: list) -> dict:
    """The arguments of a spec that are among these parameters, of the types that they have there."""
    known = {p.name: (p.annotation, ...) for p in parameters if p.name in spec}
    return create_model("Arguments", **known).model_validate({n: spec[n] for n in known}).model_dump(mode="json")


class EvaluationParameters(Section):
    """count: samples of each score. full: three seeds, for a figure that is not provisional.

    teacher_nfe: {sampler: NFE}. gammas: of a student that jumps, beside 0.
    """

    features: str = "classifier"
    features_weights: str | None = None
    count: int = Field(400, ge=FEWEST)
    seeds: Seeds = (0,)
    full: bool = False
    full_seeds: Annotated[Seeds, Field(min_length=FULL)] = (0, 1, 2)
    batch_size: int = Field(100, ge=1)
    student_nfe: NFEs = (1, 2, 3, 5, 10)
    teacher_nfe: TeacherNFEs
    gammas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()

    @check("features")
    @classmethod
    def _features(cls, name: str) -> str:
        return check_features(name)

    @check("student_nfe")
    @classmethod
    def _judged(cls, nfes: tuple[int, ...]) -> tuple[int, ...]:
        if 1 not in nfes:
            raise ValueError(f"{list(nfes)}: 1 is among them, since the registry judges by it.")
        return nfes


class ComparisonParameters(Section):
    """budget: of each recipe's training. nfe: of the scores; count: samples of each seed; search_count: of a trial."""

    budget: Budget
    nfe: NFEs = (1, 2, 4)
    seeds: Seeds = (0, 1, 2)
    count: int = Field(400, ge=FEWEST)
    search_count: int = Field(400, ge=FEWEST)
    batch_size: int = Field(200, ge=1)
    teacher_nfe: TeacherNFEs


class EditingParameters(Section):
    """tasks: {name: its options}. source: a picture or a folder of them; without it, `count` held-out images.

    degrade: the images are whole; each task takes from them what it then makes again, and is measured by it.
    """

    tasks: dict[str, dict[str, Any]]
    source: str | None = None
    degrade: bool = True
    count: int = Field(8, ge=1)
    steps: NFE = 4
    seed: Seed = 0

    @check("tasks")
    @classmethod
    def _tasks(cls, tasks: dict[str, dict]) -> dict[str, dict]:
        for name, options in tasks.items():
            build_task(name, options)
        return tasks


class PromotionParameters(Section):
    """version: the one to decide on; the challenger if none."""

    rules: Rules = Rules()
    version: int | None = Field(None, ge=1)


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
    students: dict[str, Recipe]
    evaluation: EvaluationParameters
    comparison: ComparisonParameters
    promotion: PromotionParameters
    editing: EditingParameters
    launch: LaunchSettings

    @model_validator(mode="after")
    def _agree(self):
        if self.teacher.needs_teacher:
            raise ValueError("parameter teacher: it has no teacher of its own, so it starts from scratch by denoising.")
        if shape := load_source(self.data.source).shape:
            space = DataSpace(self.dataset, "points" if len(shape) == 1 else "images", shape, 1.0, ("any",))
            for recipe in (self.teacher, self.student):
                recipe.check_fits(space, self.teacher, self.launch.workers)
        return self
