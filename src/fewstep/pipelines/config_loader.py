"""Kedro's configuration with a recipe chosen and everything checked before any work."""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from pydantic import BaseModel, ValidationError

from fewstep.config.parameters import Parameters
from fewstep.config.recipe import Recipe
from fewstep.support.names import check_name

EVERY = "every"  # of an overlay's recipes: what it says of all of them
RESERVED = {"teacher", "reference", "comparison", EVERY}


class RecipeConfigLoader(OmegaConfigLoader):
    """`parameters` has the chosen recipe as `student`; an unknown env, recipe or parameter is an error in words."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any):
        folders = [p.name for p in Path(conf_source).iterdir() if p.is_dir()]
        check_name("--env", env or "local", {*folders, "local"})
        super().__init__(conf_source, env=env, **kwargs)

    def __getitem__(self, key: str) -> dict[str, Any]:
        config = super().__getitem__(key)
        if key != "parameters" or "recipes" not in config:
            return config
        return chosen({**overlaid(config, self.runtime_params or {}), "env": self.env or self.default_run_env})

    def recipes(self) -> list[str]:
        """The students there are."""
        return sorted(super().__getitem__("parameters")["recipes"])

    def _merge_and_resolve(self, key: str, config_per_file: dict) -> dict[str, Any]:
        """Files of one folder; --params come last, over all folders, by our own rule."""
        if key != "parameters":
            return super()._merge_and_resolve(key, config_per_file)
        return (
            OmegaConf.to_container(OmegaConf.merge(*config_per_file.values()), resolve=True) if config_per_file else {}
        )

    @staticmethod
    def _soft_merge(config: dict, env_config: dict, env_path: str | None = None) -> dict[str, Any]:
        return overlaid(config, env_config)


def overlaid(config: dict[str, Any], overlay: dict[str, Any]) -> dict[str, Any]:
    """The overlay over the configuration; what it says of every recipe first, then what it says of one."""
    recipes = overlay.get("recipes", {})
    if EVERY in recipes:
        config = merged(config, {"recipes": dict.fromkeys(config["recipes"], recipes[EVERY])})
        overlay = {**overlay, "recipes": {**recipes, EVERY: None}}
    return merged(config, overlay)


def merged(below: Any, above: Any) -> Any:
    """above over below, key by key; a section of another `name` replaces the whole one, null takes one away."""
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    if above.get("name", below.get("name")) != below.get("name"):
        return above
    both = {**below, **{k: merged(below[k], v) if k in below else v for k, v in above.items()}}
    return {k: v for k, v in both.items() if v is not None}


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    """Parameters with `recipes` as `students`, and the one that `recipe` names as `student`, where that has its say."""
    config = dict(config)
    recipes, network = config.pop("recipes"), {"network": config.get("network", {})}
    config["students"] = {name: {**merged(network, recipe), "name": name} for name, recipe in recipes.items()}
    if taken := RESERVED & recipes.keys():
        raise ValueError(f"a recipe is called {', '.join(taken)}, as something else is: give it another name.")
    if not re.fullmatch(r"\w[\w.-]*", str(config.get("dataset"))):
        raise ValueError(f"dataset is {config.get('dataset')!r}: a name of letters, digits, '_', '-' and '.'.")
    name = check_name("recipe", config.get("recipe"), recipes)
    config["student"] = config["students"][name] = merged(config["students"][name], config.get("student", {}))
    config["teacher"] = {**merged(network, config.get("teacher", {})), "name": "teacher"}
    try:
        return Parameters.model_validate(config).model_dump(mode="json")
    except ValidationError as error:
        errors = [e for e in error.errors() if e["loc"][:1] != ("students",)] or error.errors()
        raise ValueError("\n".join(explain(e) for e in errors)) from None


def explain(error: dict) -> str:
    """One pydantic error as a sentence: what was given, what is allowed, the nearest name."""
    *place, last = (str(part) for part in error["loc"]) if error["loc"] else ("parameters",)
    name = ".".join([*place, last])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        try:
            check_name(f"parameter {name!r}: no", last, _names(place))
        except ValueError as unknown:
            return str(unknown)
    if error["type"] != "value_error":
        return f"parameter {name} is {error['input']!r}: {error['msg']}."
    message = str(error["ctx"]["error"])
    if not error["loc"]:
        return message
    ours = isinstance(error["input"], dict) and message.split(" is ")[0] in error["input"]
    return f"parameter {name}{'.' if ours else ': '}{message}"


def _names(place: list[str]) -> list[str]:
    """The parameters that there are at a place."""
    section: Any = Parameters
    if place[:1] == ["students"]:
        section, place = Recipe, place[2:]
    for part in place:
        hints = {n: f.annotation for n, f in section.model_fields.items()} if _is_model(section) else {}
        section = hints.get(part, section)
    return list(section.model_fields) if _is_model(section) else [f.name for f in fields(section)]


def _is_model(section: Any) -> bool:
    return isinstance(section, type) and issubclass(section, BaseModel)
