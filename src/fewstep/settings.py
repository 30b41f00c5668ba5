"""Kedro's settings of the project."""

from fewstep.hooks import Journal
from fewstep.pipelines.config_loader import RecipeConfigLoader

HOOKS = (Journal(),)
CONFIG_LOADER_CLASS = RecipeConfigLoader
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
