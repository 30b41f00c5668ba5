"""Kedro's settings of the project."""

from fewstep.hooks import RunChecks
from fewstep.pipelines.config_loader import Context, RecipeConfigLoader
from fewstep.pipelines.notices import Notices
from fewstep.pipelines.run_claims import Claims

HOOKS = (RunChecks(), Claims(), Notices())
CONFIG_LOADER_CLASS = RecipeConfigLoader
CONTEXT_CLASS = Context
CONFIG_LOADER_ARGS = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "globals": "soft"},
}
