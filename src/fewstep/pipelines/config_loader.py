"""Kedro's configuration with our rules of merging, and parameters that are checked and typed once."""

from functools import cached_property
from pathlib import Path
from typing import Any, cast

from kedro.config import OmegaConfigLoader
from kedro.framework.context import KedroContext
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException, UnsupportedInterpolationType
from yaml import YAMLError

from fewstep.config.merging import chosen, overlaid
from fewstep.config.parameters import Parameters, checked
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

# What Kedro and its parsers say of a file under conf/, in words and with the line.
CONF_ERRORS = (YAMLError, OmegaConfBaseException, UnsupportedInterpolationType)


class RecipeConfigLoader(OmegaConfigLoader):
    """An unknown env, recipe or parameter is an error in words."""

    def __init__(self, conf_source: str, env: str | None = None, **kwargs: Any):
        folders = [p.name for p in Path(conf_source).iterdir() if p.is_dir()]
        check_name("--env", env or "local", {*folders, "local"})
        super().__init__(conf_source, env=env, **kwargs)

    def __getitem__(self, key: str) -> dict[str, Any]:
        try:
            config = super().__getitem__(key)
        except CONF_ERRORS as problem:
            raise InvalidInput(f"the configuration ({key}) cannot be read: {problem}") from problem
        if key != "parameters" or "recipes" not in config:
            return config
        return chosen({**overlaid(config, self.runtime_params or {}), "env": self.env or self.default_run_env})

    @cached_property
    def parameters(self) -> Parameters:
        """Every parameter, checked. Raises ValueError that names each one that is wrong."""
        return checked(self["parameters"])

    def recipes(self) -> list[str]:
        """The students there are."""
        return sorted(super().__getitem__("parameters")["recipes"])

    # Kedro has no public way to say how files are merged: of both methods that follow it knows one rule alone.
    def _merge_and_resolve(self, key: str, config_per_file: dict) -> dict[str, Any]:
        """Files of one folder; --params come last, over all folders, by our own rule."""
        if key != "parameters":
            return super()._merge_and_resolve(key, config_per_file)
        if not config_per_file:
            return {}
        return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.merge(*config_per_file.values()), resolve=True))

    @staticmethod
    def _soft_merge(config: dict, env_config: dict, env_path: str | None = None) -> dict[str, Any]:
        return overlaid(config, env_config)


class Context(KedroContext):
    """Kedro's context, whose parameters are the typed sections themselves, so that nodes get them as they are."""

    config_loader: RecipeConfigLoader  # as settings.py says

    @property
    def typed(self) -> Parameters:
        """Every parameter."""
        return self.config_loader.parameters

    @property
    def params(self) -> dict[str, Any]:
        """{name of a section: the section}."""
        return dict(self.typed)
