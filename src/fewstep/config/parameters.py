"""Every parameter of the project, typed: what conf/ may say. A wrong one fails here, before any work."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, fields, is_dataclass
from inspect import signature
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic import field_validator as check

from fewstep.budget import Budget
from fewstep.config.recipe_schema import NFE, RecipeParameter, Seed
from fewstep.data import SOURCES, expected_space, load_source
from fewstep.data.space import SCALES
from fewstep.editing import build_task
from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.features import check_features
from fewstep.evaluation.scores import FEWEST
from fewstep.launch import LaunchSettings
from fewstep.networks import NETWORKS
from fewstep.networks.execution import Execution
from fewstep.objectives import objective_class, objective_names
from fewstep.preconditioning import PRECONDITIONERS
from fewstep.registry import Rules
from fewstep.samplers import DENOISER_SAMPLERS, count_levels
from fewstep.support.device import best_device
from fewstep.support.errors import InvalidInput, UserError
from fewstep.support.names import check_name
from fewstep.support.validation import error_of
from fewstep.tracking import TrackingSettings
from fewstep.tracking.notify import without_secrets
from fewstep.training.hyperparameters import MOST_IN_A_BATCH
from fewstep.training.recipe import Recipe

MOST_SAMPLES = 10**9  # of a score


def _distinct(values: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(values)) < len(values):
        raise InvalidInput(f"there must be no repetitions, got {list(values)}")
    return values


def _of_samplers(nfes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    for sampler in nfes:
        check_name("sampler of a teacher", sampler, DENOISER_SAMPLERS)
        for nfe in nfes[sampler]:
            count_levels(sampler, nfe)
    return nfes


NFEs = Annotated[tuple[NFE, ...], Field(min_length=1), AfterValidator(_distinct)]
TeacherNFEs = Annotated[dict[str, NFEs], Field(min_length=1), AfterValidator(_of_samplers)]
Seeds = Annotated[tuple[Seed, ...], Field(min_length=1, max_length=1000), AfterValidator(_distinct)]


References = Annotated[tuple[str, ...], BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)]


class Section(BaseModel):
    """A part of the parameters: unknown keys are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class DataParameters(Section):
    """Where images come from and how they are split. scale: of their values; measured if not given. autoencoder: the
    folder of one in whose latents models are trained.
    """

    source: dict[str, Any]
    heldout: float = Field(0.25, gt=0, lt=1)
    scale: float | None = Field(None, ge=SCALES[0], le=SCALES[1])
    seed: Seed = 0
    autoencoder: str | None = None

    @check("source")
    @classmethod
    def _source(cls, spec: dict) -> dict:
        load_source(spec)
        return spec


class Sampled(Section):
    """precision, compile: of the passes that make samples. compile "auto" is on GPUs."""

    precision: Literal["fp32", "tf32", "bf16"] = "fp32"
    compile: bool | Literal["auto"] = False

    @property
    def execution(self) -> Execution:
        """How passes run on the device of this machine."""
        return Execution.on(best_device(), self.precision, self.compile)


class EvaluationParameters(Sampled):
    """count: samples of each score. reference: files of other programs' statistics, by whose rules samples are scored
    too. full: three seeds, for a figure that is not provisional.

    teacher_nfe: {sampler: NFE}. gammas: of a student that jumps, beside 0. levels: the student's, as its recipe has
    them, or searched, by search_count samples a trial.
    """

    features: str = "classifier"
    features_weights: str | None = None
    reference: References = ()
    count: int = Field(400, ge=FEWEST, le=MOST_SAMPLES)
    seeds: Seeds = (0,)
    full: bool = False
    full_seeds: Annotated[Seeds, Field(min_length=FULL_SEEDS)] = (0, 1, 2)
    batch_size: int = Field(100, ge=1, le=MOST_IN_A_BATCH)
    student_nfe: NFEs = (1, 2, 3, 5, 10)
    teacher_nfe: TeacherNFEs
    gammas: tuple[Annotated[float, Field(gt=0, le=1)], ...] = ()
    levels: Literal["recipe", "search"] = "recipe"
    search_count: int = Field(400, ge=FEWEST, le=MOST_SAMPLES)

    @check("features")
    @classmethod
    def _features(cls, name: str) -> str:
        return check_features(name)

    @check("student_nfe")
    @classmethod
    def _judged(cls, nfes: tuple[int, ...]) -> tuple[int, ...]:
        if 1 not in nfes:
            raise InvalidInput(f"1 must be among them, since the registry judges by it, got {list(nfes)}")
        return nfes


class ComparisonParameters(Sampled):
    """budget, training_seed: of each recipe's training, which adds its own seed. nfe: of the scores; count: samples of
    each seed; search_count: of a trial.
    """

    budget: Budget
    training_seed: Seed = 0
    nfe: NFEs = (1, 2, 4)
    seeds: Seeds = (0, 1, 2)
    count: int = Field(400, ge=FEWEST, le=MOST_SAMPLES)
    search_count: int = Field(400, ge=FEWEST, le=MOST_SAMPLES)
    batch_size: int = Field(200, ge=1, le=MOST_IN_A_BATCH)
    teacher_nfe: TeacherNFEs


class ReportParameters(Section):
    """teacher_nfe: {sampler: NFE} beside those of the evaluation."""

    teacher_nfe: TeacherNFEs


class EditingParameters(Section):
    """tasks: {name: its options}. source: a picture or a folder of them; without it, `count` held-out images.

    degrade: the images are whole; each task takes from them what it then makes again, and is measured by it.
    """

    tasks: dict[str, dict[str, Any]]
    source: str | None = None
    degrade: bool = True
    count: int = Field(8, ge=1, le=10_000)
    nfe: NFE = 4
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
    """All of them. teacher_of_other_data: a teacher that was trained on other images than these is taken. trial: the
    name of a student that is kept beside the recipe's usual one, as those of a sweep are: NAME, or FOLDER/NAME.
    """

    env: str
    recipe: str
    dataset: str
    fresh: bool = False
    teacher_of_other_data: bool = False
    trial: str | None = None
    data: DataParameters
    network: dict[str, Any]
    teacher: RecipeParameter
    student: RecipeParameter
    students: dict[str, RecipeParameter]
    evaluation: EvaluationParameters
    comparison: ComparisonParameters
    report: ReportParameters
    promotion: PromotionParameters
    editing: EditingParameters
    launch: LaunchSettings
    tracking: TrackingSettings = TrackingSettings()

    @model_validator(mode="after")
    def _agree(self):
        if self.teacher.needs_teacher:
            raise InvalidInput(
                "teacher must not need a teacher itself: set start: scratch, and a method such as denoising."
            )
        sampler = self.student.objective.sampler
        for nfe in self.evaluation.student_nfe:
            try:
                count_levels(sampler, nfe)
            except InvalidInput as problem:
                raise problem.inside("evaluation.student_nfe") from None
        # What an autoencoder makes of them is in its folder, which is read before a run.
        space = None if self.data.autoencoder else expected_space(self.data.source, self.dataset)
        for recipe in (self.teacher, self.student):
            if space:
                recipe.check_fits(space, self.teacher, self.launch.workers)
            else:
                recipe.check_labels(self.teacher)
        return self


def to_json(parameters: Parameters) -> dict[str, Any]:
    """Every parameter as files would say it, ready for JSON, but for the secrets that `tracking.notify` may have."""
    found = {name: _plain(value) for name, value in parameters}
    shown = [without_secrets(target) for target in parameters.tracking.notify]
    return {**found, "tracking": {**found["tracking"], "notify": shown}}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, Recipe):
        return value.to_json()
    if isinstance(value, BaseModel):
        return {name: _plain(each) for name, each in value}
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else value


def checked(config: dict[str, Any]) -> Parameters:
    """The merged configuration, typed. Raises ValueError that names each parameter that is wrong."""
    try:
        found = Parameters.model_validate(config)
    except ValidationError as error:
        errors = [e for e in error.errors() if e["loc"][:1] != ("students",)] or error.errors()
        raise InvalidInput("\n".join(explain(e) for e in errors)) from None
    _refuse_booleans(config, found)
    return found


def _refuse_booleans(given: Any, typed: Any, place: str = "") -> None:
    """Raise InvalidInput for true where a number was read: pydantic takes it for 1."""
    if isinstance(given, bool) and isinstance(typed, int | float) and not isinstance(typed, bool):
        raise InvalidInput.of(place, given, "a number")
    if isinstance(given, dict):
        for name, value in given.items():
            inner = typed.get(name) if isinstance(typed, dict) else getattr(typed, str(name), None)
            _refuse_booleans(value, inner, f"{place}.{name}".lstrip("."))
    elif isinstance(given, list | tuple) and isinstance(typed, list | tuple):
        for number, values in enumerate(zip(given, typed, strict=False)):
            _refuse_booleans(*values, f"{place}.{number}")


def explain(error: Any) -> str:
    """One pydantic error as a sentence: what was given, what is allowed, the nearest name."""
    *place, last = (str(part) for part in error["loc"]) if error["loc"] else ("parameters",)
    shown = ["recipes" if part == "students" else part for part in place]  # as files have it
    name = ".".join([*shown, last])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        try:
            check_name("parameter", last, _names(place), ".".join(shown))
        except InvalidInput as unknown:
            return str(unknown)
    if error["type"] != "value_error":
        return str(error_of(name, error))
    ours = error["ctx"]["error"]
    if not error["loc"]:
        return str(ours)
    return str(ours.inside(name)) if isinstance(ours, UserError) else f"{name}: {ours}"


CHOICES: dict[
    str, Callable[[], Iterable[Iterable[str]]]
] = {  # sections with a name: the arguments of each that there is
    "source": lambda: ([field.name for field in fields(cast(Any, source))] for source in SOURCES.values()),
    "network": lambda: (_parameters_of(kind.Settings) for kind in NETWORKS.values()),
    "preconditioning": lambda: (_parameters_of(kind) for kind in PRECONDITIONERS.values()),
    "objective": lambda: (objective_class(name).constants() for name in objective_names()),
}


def _parameters_of(function: Callable[..., Any]) -> Iterable[str]:
    return signature(function).parameters


MADE = {  # what is made of other parameters, and what to give instead
    "students": "give what is said of one student as recipes.NAME",
    "env": "give the environment as --env",
}


def check_given(values: Mapping[str, Any]) -> None:
    """Raise InvalidInput for a parameter that is made of others, and for null in place of one that there is not."""
    for name in MADE.keys() & values.keys():
        raise InvalidInput(f"the parameter {name} must be left out: {MADE[name]}.")
    check_removed(values)


def check_removed(over: Mapping[str, Any], place: tuple[str, ...] = ()) -> None:
    """Raise InvalidInput for null in place of a parameter that there is not, which would remove nothing in silence."""
    for name, value in over.items():
        if isinstance(value, Mapping):
            check_removed(value, (*place, str(name)))
        elif value is None and (known := _known(place)):
            check_name("parameter", name, known, ".".join(place))


def _known(place: tuple[str, ...]) -> list[str]:
    """The names that files may say at a place; none where that depends on what is chosen there."""
    if place and place[-1] in CHOICES:  # an overlay takes away what the base says of another choice
        return ["name", *{argument for arguments in CHOICES[place[-1]]() for argument in arguments}]
    try:
        if place[:1] == ("recipes",):
            return _names(["students", *place[1:]]) if len(place) > 1 else []
        return _names(list(place))
    except TypeError:
        return []


def _names(place: list[str]) -> list[str]:
    """The parameters that files may say at a place."""
    section: Any = Parameters
    if not place:
        return [*(name for name in _hints(section) if name not in MADE), "recipes"]
    if place[:1] == ["students"]:
        section, place = Recipe, place[2:]
    for part in place:
        section = section if part == "earlier" else _hints(section).get(part, section)  # a recipe in a recipe
    return list(_hints(section))


def _hints(section: Any) -> dict[str, Any]:
    if isinstance(section, type) and issubclass(section, BaseModel):
        return {name: field.annotation for name, field in section.model_fields.items()}
    return {field.name: field.type for field in fields(section)}
