"""MLflow's only door: runs, pictures, the model registry and its gate.

MLflow takes seconds to import, so nothing here imports it before it is used.
"""

import os

from onestep.tracking.follow import Follower, Progress
from onestep.tracking.gate import Rules, decide
from onestep.tracking.lineage import git_state, lock_state, run_tags
from onestep.tracking.moves import champion_of, history
from onestep.tracking.promotion import Exam, force, promote, rollback
from onestep.tracking.registry import attach, load_registered, register, register_teacher, sync
from onestep.tracking.runs import Run, open_run
from onestep.tracking.store import Store
from onestep.tracking.versions import load_newer

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow's own patience with a server that is away is minutes; ours is what is not logged now is logged later.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

__all__ = [
    "Exam",
    "Follower",
    "Progress",
    "Rules",
    "Run",
    "Store",
    "attach",
    "champion_of",
    "decide",
    "force",
    "git_state",
    "history",
    "load_newer",
    "load_registered",
    "lock_state",
    "open_run",
    "promote",
    "register",
    "register_teacher",
    "rollback",
    "run_tags",
    "sync",
]
