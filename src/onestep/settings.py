"""Kedro's settings of the project."""

from onestep.hooks import Journal
from onestep.pipelines.configuration import RecipeConfigLoader

HOOKS = (Journal(),)
CONFIG_LOADER_CLASS = RecipeConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
