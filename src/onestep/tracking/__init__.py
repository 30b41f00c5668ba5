"""MLflow's only door: runs, pictures, the model registry and its gate.

MLflow takes seconds to import, so nothing here imports it before it is used.
"""

import os

from onestep.tracking.follow import Follower, Progress
from onestep.tracking.gate import decide
from onestep.tracking.lineage import git_state, run_tags
from onestep.tracking.registry import load_registered, register, sync
from onestep.tracking.runs import Run, open_run
from onestep.tracking.store import Store

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow's own patience with a server that is away is minutes; ours is what is not logged now is logged later.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

__all__ = [
    "Follower",
    "Progress",
    "Run",
    "Store",
    "decide",
    "git_state",
    "load_registered",
    "open_run",
    "register",
    "run_tags",
    "sync",
]
