"""Every parameter with its type, range, default and comment, as the code that checks it has them.

Ranges are asked of the checks themselves: a value that cannot be is refused with what is allowed. So what is said here
is what a run refuses, however a class checks its fields.
"""

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.errors import PydanticSchemaGenerationError

from fewstep.config.parameters import Parameters
from fewstep.config.recipe_schema import NOISE, RecipeParameter
from fewstep.data import SOURCES
from fewstep.editing import TASKS
from fewstep.networks import NETWORKS, check_arguments
from fewstep.objectives import objective_class, objective_names
from fewstep.support.errors import InvalidInput, UserError
from fewstep.support.validation import error_of
from fewstep.training.recipe import Recipe

HUGE = 10**30  # beyond every range
REQUIRED = object()  # in place of a default
COMMENTS: dict[str, dict[str, str]] = yaml.safe_load(Path(__file__).with_name("comments.yml").read_text())
GIVEN = {"path": ".", "root": ".", "train": ".", "unit": "images", "amount": 1}  # of what has no default, for a trial
DESCRIBED_APART = ("env", "students", "student", "teacher", "network", "name")
PLURALS = {"whole number": "whole numbers", "number": "numbers", "text": "texts"}


@dataclass(frozen=True)
class Setting:
    """One parameter. schema: its JSON schema; allowed: its range or choices in words, "" for any value."""

    name: str
    schema: dict[str, Any]
    allowed: str
    default: Any
    comment: str

    @property
    def kind(self) -> str:
        """What its values are, in words."""
        return _words(self.schema)


@dataclass(frozen=True)
class Chapter:
    """Parameters of one section of the files. place: its name there."""

    title: str
    place: str
    settings: tuple[Setting, ...]


@cache
def chapters() -> list[Chapter]:
    """All parameters."""
    return [
        *_with_sections("General", "", Parameters),
        *(describe(f"Source {name}", "data.source", kind) for name, kind in SOURCES.items()),
        *(describe(f"Network {name}", "network", kind.Settings) for name, kind in NETWORKS.items()),
        *_with_sections("Recipe", "student", Recipe),
        *(describe(f"Method {name}", "student.objective", objective_class(name)) for name in objective_names()),
        *(describe(f"Task {name}", f"editing.tasks.{name}", kind) for name, kind in TASKS.items()),
    ]


def _with_sections(title: str, place: str, kind: Any) -> Iterator[Chapter]:
    """A class, and the sections that its fields are, with theirs."""
    yield describe(title, place, kind)
    for name, hint in _hints(kind).items():
        if _is_section(hint) and name not in DESCRIBED_APART:
            below = f"{place}.{name}".lstrip(".")
            yield from _with_sections(below, below, hint)


def describe(title: str, place: str, kind: type) -> Chapter:
    """The fields of a class that are no sections, each as a parameter."""
    comments = _comments(kind) | COMMENTS.get(place, {})
    hints = get_type_hints(kind, include_extras=True)
    apart = NOISE if place == "student.objective" else DESCRIBED_APART if kind in (Parameters, Recipe) else ()
    settings = [
        Setting(name, _schema(hints[name], default), _allowed(kind, name, default), default, comments.get(name, ""))
        for name, default in _defaults(kind).items()
        if name not in apart
    ]
    return Chapter(title, place, tuple(settings))


def _hints(kind: Any) -> dict[str, Any]:
    """{field: its type}."""
    if issubclass(kind, BaseModel):
        return {name: field.annotation for name, field in kind.model_fields.items()}
    hints = get_type_hints(kind)
    return {field.name: hints[field.name] for field in fields(kind)}


def _defaults(kind: Any) -> dict[str, Any]:
    """{field that is no section: its default}."""
    if issubclass(kind, BaseModel):
        known = {n: field.get_default(call_default_factory=True) for n, field in kind.model_fields.items()}
        known |= {name: REQUIRED for name, field in kind.model_fields.items() if field.is_required()}
    else:
        known = {f.name: f.default if f.default_factory is MISSING else f.default_factory() for f in fields(kind)}
    sections = {name for name, hint in _hints(kind).items() if _is_section(hint)}
    return {n: REQUIRED if default is MISSING else default for n, default in known.items() if n not in sections}


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind))


def _schema(hint: Any, default: Any) -> dict[str, Any]:
    """The JSON schema of a type; of the type of the default if files cannot say all that code can."""
    try:
        found = TypeAdapter(hint).json_schema()
    except PydanticSchemaGenerationError:
        found = {} if default is None else TypeAdapter(type(default)).json_schema()
    return {} if "$defs" in found else found


def _words(schema: Mapping[str, Any]) -> str:
    """What a JSON schema allows: "whole number", "list of numbers"."""
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_words(each) for each in schema["anyOf"]))
    if "enum" in schema:
        return " or ".join(f"`{choice}`" for choice in schema["enum"])
    names = {"integer": "whole number", "boolean": "true or false", "string": "text", "object": "section"}
    kind = schema.get("type", "value")
    if kind != "array":
        return names.get(kind, str(kind))
    items = schema.get("items") or next(iter(schema.get("prefixItems", ())), {})
    inner = _words(items) if items else "value"
    return f"list of {PLURALS.get(inner, f'{inner}s')}"


def _allowed(kind: type, name: str, default: Any) -> str:
    """What the checks of a field say that its values must be."""
    if isinstance(default, bool) or default is REQUIRED:
        return ""
    if isinstance(default, int | float):
        trials: tuple[Any, ...] = (-HUGE, HUGE)
    elif isinstance(default, tuple) and default and all(isinstance(each, int | float) for each in default):
        trials = ([-HUGE] * len(default), [HUGE] * len(default))
    elif isinstance(default, str):
        trials = ("\0",)
    else:
        return ""
    said = dict.fromkeys(filter(None, (_refusal(kind, name, trial) for trial in trials)))
    return re.sub(r"\d{5,}", lambda number: f"{int(number[0]):,}", " and ".join(said))


def _refusal(kind: Any, name: str, value: Any) -> str | None:
    """What is allowed in place of a value; None if it is taken."""
    try:
        _make(kind, name, value)
    except InvalidInput as problem:
        return _without_values(problem) if problem.field in (None, name) else None
    except ValidationError as found:
        for error in found.errors():
            ours = error.get("ctx", {}).get("error")
            if isinstance(ours, UserError) and error["loc"][:1] in ((), (name,)):
                return _without_values(ours)
            if error["loc"][:1] == (name,):
                return error_of(name, error).allowed
    return None


def _make(kind: Any, name: str, value: Any) -> None:
    """Make an object of a class with a value for a field, as files would have it made."""
    if kind is Recipe:
        TypeAdapter(RecipeParameter).validate_python({name: value})
    elif issubclass(kind, BaseModel):
        kind.model_validate({name: value})
    elif network := next((known for known, each in NETWORKS.items() if each.Settings is kind), None):
        kind(**{name: value})
        check_arguments({"name": network, name: value})
    else:
        kind(**{f.name: GIVEN[f.name] for f in fields(kind) if f.name in GIVEN} | {name: value})


def _without_values(problem: UserError) -> str | None:
    """What is allowed, without the values of other fields: "below num_levels (18)"."""
    return problem.allowed and re.sub(r"\b([a-z_]+) \([\d.e+-]+\)", r"\1", problem.allowed)


def _comments(kind: Any) -> dict[str, str]:
    """{field: comment} as a class has them.

    A comment is behind a field (`clip: float = 1.0  # of the gradient's norm`), or in the docstring as "clip: of the
    gradient's norm."
    """
    found: dict[str, str] = {}
    names = "|".join(_defaults(kind)) or "(?!)"
    for each in (each for each in reversed(kind.__mro__) if each.__module__.startswith("fewstep.")):
        found |= _behind_fields(each)
        _, *rest = re.split(
            rf"(?:(?<=[.;:] )|^)((?:{names})(?:, (?:{names}))*): ", " ".join((each.__doc__ or "").split())
        )
        for labels, text in zip(rest[::2], rest[1::2], strict=True):
            found |= dict.fromkeys(labels.split(", "), text.strip().rstrip(".;"))
    return found


def _behind_fields(kind: type) -> dict[str, str]:
    return dict(re.findall(r"^ {4}(\w+): [^#\n]*# (?!type:|pyright:|noqa)(.*)$", inspect.getsource(kind), re.MULTILINE))
