"""Kedro's configuration with a recipe chosen and everything checked before any work."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from kedro.config import OmegaConfigLoader
from omegaconf import OmegaConf
from pydantic import BaseModel, ValidationError

from onestep.diffusion.names import check_name
from onestep.pipelines.parameters import Parameters


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
        return chosen({**config, "env": self.env or self.default_run_env})


def chosen(config: dict[str, Any]) -> dict[str, Any]:
    """Parameters with `recipes` replaced by the one that `recipe` names, over which `student` has the last word."""
    config = dict(config)
    recipes = config.pop("recipes")
    recipe = recipes[check_name("recipe", config.get("recipe"), recipes)]
    for part, own in (("student", recipe), ("teacher", {})):
        merged = OmegaConf.merge({"network": config.get("network", {})}, own, config.get(part, {}))
        config[part] = OmegaConf.to_container(merged, resolve=True)
    try:
        return Parameters.model_validate(config).model_dump(mode="json")
    except ValidationError as error:
        raise ValueError("\n".join(explain(e) for e in error.errors())) from None


def explain(error: dict) -> str:
    """One pydantic error as a sentence: what was given, what is allowed, the nearest name."""
    *place, last = (str(part) for part in error["loc"]) if error["loc"] else ("parameters",)
    name = ".".join([*place, last])
    if error["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        try:
            check_name(f"parameter {name!r}: no", last, _names(place))
        except ValueError as unknown:
            return str(unknown)
    return f"parameter {name} is {error['input']!r}: {error['msg']}."


def _names(place: list[str]) -> list[str]:
    """The parameters that there are at a place."""
    section: Any = Parameters
    for part in place:
        hints = {n: f.annotation for n, f in section.model_fields.items()} if _is_model(section) else {}
        section = hints.get(part, section)
    return list(section.model_fields) if _is_model(section) else [f.name for f in fields(section)]


def _is_model(section: Any) -> bool:
    return isinstance(section, type) and issubclass(section, BaseModel)
