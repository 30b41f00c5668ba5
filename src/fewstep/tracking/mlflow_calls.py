"""The calls to MLflow that a run needs, within MLflow's limits on a single call."""

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from mlflow.entities import Run as MlflowRun

METRICS_AT_ONCE, TEXTS_AT_ONCE = 1000, 100
NOT_METRICS = ("step", "images", "total_images")


def points_of(entries: list[dict], start_ms: int) -> "list[Metric]":
    """The numbers in entries of a progress file as metrics, with images seen as their step."""
    from mlflow.entities import Metric

    return [
        Metric(key, value, start_ms + round(1000 * entry.get("seconds", 0)), entry["images"])
        for entry in entries
        for key, value in entry.items()
        if key not in NOT_METRICS and isinstance(value, int | float)
    ]


def log_points(client: "MlflowClient", run_id: str, points: "list[Metric]") -> None:
    for start in range(0, len(points), METRICS_AT_ONCE):
        client.log_batch(run_id, metrics=points[start : start + METRICS_AT_ONCE])


def find_run(client: "MlflowClient", run_id: str | None) -> "MlflowRun | None":
    """The run if it exists and is not deleted, else None."""
    from mlflow.exceptions import MlflowException

    try:
        run = client.get_run(run_id) if run_id else None
    except MlflowException as problem:
        if problem.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return None
    return run if run and run.info.lifecycle_stage == "active" else None


def log_texts(client: "MlflowClient", run: "MlflowRun", params: dict, tags: dict) -> None:
    """Log the params and tags that the run does not have yet. MLflow does not allow a param to change."""
    from mlflow.entities import Param, RunTag

    new_params = [Param(key, value) for key, value in params.items() if key not in run.data.params]
    new_tags = [RunTag(key, str(value)) for key, value in tags.items() if run.data.tags.get(key) != str(value)]
    for start in range(0, max(len(new_params), len(new_tags)), TEXTS_AT_ONCE):
        part = slice(start, start + TEXTS_AT_ONCE)
        client.log_batch(run.info.run_id, params=new_params[part], tags=new_tags[part])


def logged_pictures(client: "MlflowClient", run_id: str) -> set[tuple[str, int]]:
    """(key, step) of the pictures that MLflow has completely: it writes their small copies last."""
    names = (
        re.fullmatch(r"images/(.+)\+step\+(\d+)\+.*\+compressed\.webp", file.path)
        for file in client.list_artifacts(run_id, "images")
    )
    return {(name[1], int(name[2])) for name in names if name}
