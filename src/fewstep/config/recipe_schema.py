"""A recipe as files say it, checked and typed: fewstep.training.recipe.Recipe comes out."""

from collections.abc import Mapping
from dataclasses import fields
from inspect import Parameter, signature
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, create_model, model_validator
from pydantic.dataclasses import dataclass

from fewstep.losses.distances import check_distance
from fewstep.networks import NETWORKS, arguments_of, check_arguments
from fewstep.objectives import Objective, objective_class
from fewstep.preconditioning import PRECONDITIONERS
from fewstep.support.errors import InvalidInput, UserError
from fewstep.support.names import check_name
from fewstep.training.recipe import NoiseRange, Recipe

NFE = Annotated[int, Field(ge=1, le=10_000)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]  # as NumPy has them
NOISE = tuple(field.name for field in fields(NoiseRange))


def _network(spec: dict) -> dict:
    name = check_name("network", spec.get("name"), NETWORKS)
    spec = {**spec, **_typed(spec, arguments_of(name))}
    check_arguments(spec)
    return spec


def _preconditioning(spec: dict) -> dict:
    name = check_name("preconditioner", spec.get("name"), PRECONDITIONERS)
    arguments = _arguments_of(name)
    for argument in spec.keys() - {"name"}:
        check_name("argument", argument, [p.name for p in arguments], f"the preconditioner {name!r}")
    return {**spec, **_typed(spec, arguments)}


def _objective(spec: Any) -> Objective:
    if isinstance(spec, Objective):
        return spec
    if not isinstance(spec, Mapping):
        raise InvalidInput(f"must be a section with the name of a method, got {spec!r}")
    constants = dict(spec)
    method = objective_class(constants.pop("name", None))
    for name in constants:
        check_name("constant", name, method.constants(), spec["name"])
    distance = constants.get("distance", "l2")
    if (distance.get("name") if isinstance(distance, dict) else distance) != "lpips":  # its files: before a run
        check_distance(distance)
    return TypeAdapter(method).validate_python(constants)


def _earlier(spec: Any) -> Recipe | None:
    return spec if spec is None or isinstance(spec, Recipe) else TypeAdapter(RecipeParameter).validate_python(spec)


@dataclass(frozen=True, config=ConfigDict(extra="forbid", arbitrary_types_allowed=True))
class _Checked(Recipe):
    """A recipe whose fields pydantic checks one by one, so that an error names its parameter."""

    objective: Annotated[Objective, BeforeValidator(_objective)]
    network: Annotated[dict[str, Any], AfterValidator(_network)]
    preconditioning: Annotated[dict[str, Any], AfterValidator(_preconditioning)]
    levels: dict[NFE, tuple[float, ...]] = Field(default_factory=dict)
    picture_nfe: tuple[NFE, ...] = (1,)
    seed: Seed = 0
    earlier: Annotated[Any, BeforeValidator(_earlier)] = None

    @model_validator(mode="before")
    @classmethod
    def _spread_noise(cls, given: Any) -> Any:
        """The ends of the noise go to the objective and the preconditioner, which do not state them again."""
        facts = given.kwargs if hasattr(given, "kwargs") else given
        return with_noise(facts) if isinstance(facts, Mapping) else given


def _plain(checked: _Checked) -> Recipe:
    """Without pydantic, as workers are sent it."""
    return Recipe(**{field.name: getattr(checked, field.name) for field in fields(Recipe)})


RecipeParameter = Annotated[_Checked, AfterValidator(_plain)]


def with_noise(recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with its `noise` given to the objective and the preconditioner, as far as they have a use for it.

    Raises ValueError where these state it themselves.
    """
    sections = {name: recipe.get(name) for name in ("objective", "preconditioning", "noise")}
    objective, wrapper, noise = (s if isinstance(s, Mapping) else {} for s in sections.values())
    for section, names in (("objective", NOISE), ("preconditioning", ("boundary",))):
        for name in names:
            if name in (objective if section == "objective" else wrapper):
                stated = "sigma_min" if name == "boundary" else name
                raise InvalidInput(f"{section}.{name} must be left out: noise.{stated} sets it for the whole recipe.")
    if not _is_range(noise) or not {"objective", "preconditioning"} <= recipe.keys():
        return dict(recipe)
    known = objective_class(objective.get("name")).constants()
    given = {name: value for name, value in noise.items() if name in known}
    has_boundary = "sigma_min" in noise and _arguments_of(str(wrapper.get("name")))
    boundary = {"boundary": noise["sigma_min"]} if has_boundary else {}
    return {**recipe, "objective": {**objective, **given}, "preconditioning": {**wrapper, **boundary}}


def _is_range(noise: Mapping[str, Any]) -> bool:
    """Whether these are ends of the noise; where not, the check of `noise` itself says so."""
    try:
        return bool(noise) and NoiseRange(**noise) is not None
    except (UserError, TypeError):
        return False


def _arguments_of(preconditioner: str) -> list[Parameter]:
    """What a preconditioner takes beside a network and the deviation of data."""
    check_name("preconditioner", preconditioner, PRECONDITIONERS)
    parameters = signature(PRECONDITIONERS[preconditioner]).parameters.values()
    return [p for p in parameters if p.name not in ("network", "sigma_data")]


def _typed(spec: dict, parameters: list[Parameter]) -> dict:
    """The arguments of a spec that are among these parameters, of the types that they have there."""
    known: dict[str, Any] = {p.name: (p.annotation, ...) for p in parameters if p.name in spec}
    return create_model("Arguments", **known).model_validate({n: spec[n] for n in known}).model_dump(mode="json")
