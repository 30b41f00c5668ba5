"""Trainings in MLflow: one run each, with its metrics, pictures, parameters and lineage.

MLflow takes seconds to import, so nothing here imports it before it is used.
"""

import os

from fewstep.tracking.backend import Backend
from fewstep.tracking.follow import Follower, Progress
from fewstep.tracking.lineage import git_state, lock_state, run_tags, run_title
from fewstep.tracking.runs import Run, open_run
from fewstep.tracking.tracking_settings import TrackingSettings

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# MLflow's own patience with a server that is away is minutes; ours is what is not logged now is logged later.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

__all__ = [
    "Backend",
    "Follower",
    "Progress",
    "Run",
    "TrackingSettings",
    "git_state",
    "lock_state",
    "open_run",
    "run_tags",
    "run_title",
]
