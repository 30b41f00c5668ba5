"""The files of conf/ as a JSON schema, by which an editor completes names, shows comments and marks mistakes."""

import re
from collections.abc import Iterable
from typing import Any

from fewstep.config.parameter_descriptions import REQUIRED, Chapter, Setting, chapters
from fewstep.preconditioning import PRECONDITIONERS

NUMBER = r"(-?[\d,.]+(?:e[+-]?\d+)?)"
LIMITS = {
    rf"at least {NUMBER}": ("minimum",),
    rf"above {NUMBER}": ("exclusiveMinimum",),
    rf"at most {NUMBER}": ("maximum",),
    rf"below {NUMBER}": ("exclusiveMaximum",),
    rf"between {NUMBER} and {NUMBER}": ("minimum", "maximum"),
}
RECIPE = {"$ref": "#/$defs/recipe"}


def json_schema() -> dict[str, Any]:
    """The schema of a file of parameters. Every section may leave out any of its parameters, or have null for one."""
    known = chapters()
    network = _section(_of(known, "network"), ("name", _named(known, "Network")))
    tasks = {
        chapter.place.split(".")[-1]: _section([chapter]) for chapter in known if chapter.title.startswith("Task ")
    }
    sections = {"student": _section(_of(known, "student"))}
    sections |= {chapter.place: _section([chapter]) for chapter in known if chapter.title == chapter.place}
    sections |= {
        "network": network,
        "data.source": _section(_of(known, "data.source"), ("name", _named(known, "Source"))),
        "editing.tasks": {"type": "object", "properties": tasks, "additionalProperties": False},
        "student.network": network,
        "student.objective": _section(_of(known, "student.objective"), ("name", _named(known, "Method"))),
        "student.preconditioning": {"type": "object", "properties": {"name": {"enum": sorted(PRECONDITIONERS)}}},
    }
    root = _section(_of(known, ""))
    for place, section in sections.items():
        _put(root, place, section)
    recipe = _or_null(root["properties"].pop("student"))
    root["properties"] |= dict.fromkeys(("student", "teacher"), RECIPE)
    root["properties"]["recipes"] = {"type": "object", "additionalProperties": RECIPE}
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Parameters of Fewstep"}
    return {**head, **_or_null(root), "$defs": {"recipe": recipe}}


def _of(known: list[Chapter], place: str) -> list[Chapter]:
    return [chapter for chapter in known if chapter.place == place]


def _named(known: list[Chapter], kind: str) -> dict[str, Any]:
    """The names in titles such as "Network unet"."""
    return {"enum": [chapter.title.split()[1] for chapter in known if chapter.title.startswith(f"{kind} ")]}


def _section(parts: Iterable[Chapter], *more: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    """A section with the parameters of some chapters: those of every method, if it depends on a name."""
    properties: dict[str, Any] = dict(more)
    for setting in (setting for chapter in parts for setting in chapter.settings):
        properties.setdefault(setting.name, _property(setting))
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _property(setting: Setting) -> dict[str, Any]:
    found = {**setting.schema, "description": setting.comment}
    if setting.default is not REQUIRED and isinstance(setting.default, str | int | float | bool):
        found["default"] = setting.default
    if found.get("type") in ("integer", "number"):
        for pattern, limits in LIMITS.items():
            for match in re.finditer(pattern, setting.allowed):
                found |= {limit: float(n.replace(",", "")) for limit, n in zip(limits, match.groups(), strict=True)}
    if found.get("type") == "string" and re.fullmatch(r"\w+(, \w+)+", setting.allowed):
        found["enum"] = setting.allowed.split(", ")
    return found


def _put(root: dict[str, Any], place: str, section: dict[str, Any]) -> None:
    """Set a section at a place such as "promotion.rules", whose upper sections are there."""
    *above, name = place.split(".")
    for part in above:
        root = root["properties"][part]
    root["properties"][name] = section


def _or_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema in which each parameter may be null, which takes a value away."""
    made = dict(schema)
    if "properties" in made:
        made["properties"] = {name: _nullable(_or_null(part)) for name, part in made["properties"].items()}
    if isinstance(others := made.get("additionalProperties"), dict):
        made["additionalProperties"] = _nullable(_or_null(others))
    return made


def _nullable(part: dict[str, Any]) -> dict[str, Any]:
    if "enum" in part:
        part = {**part, "enum": [*part["enum"], None]}
    if "anyOf" in part:
        return {**part, "anyOf": [*part["anyOf"], {"type": "null"}]}
    return {**part, "type": [part["type"], "null"]} if isinstance(part.get("type"), str) else part
