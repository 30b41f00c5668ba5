"""The calls to MLflow that a run needs, within MLflow's limits on a single call."""

import json
import re
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, Metric, RunTag
    from mlflow.entities import Run as MlflowRun

METRICS_AT_ONCE, TEXTS_AT_ONCE = 1000, 100
NOT_METRICS = ("step", "images", "total_images")
# What says how fast a training is and not how good: MLflow has a page of its own for it, by the beginning of its names.
SYSTEM = ("seconds", "images_per_second", "tflops", "peak_memory_gib", "share_of_peak")
BY_NFE = "scores_by_nfe"


def points_of(entries: list[dict], start_ms: int) -> "list[Metric]":
    """The numbers in entries of a progress file as metrics, with images seen as their step."""
    from mlflow.entities import Metric

    return [
        Metric(_placed(key), value, start_ms + round(1000 * entry.get("seconds", 0)), entry["images"])
        for entry in entries
        for key, value in entry.items()
        if key not in NOT_METRICS and isinstance(value, int | float)
    ]


def _placed(key: str) -> str:
    return f"system/{key}" if key.startswith(SYSTEM) else key


def scores_by_nfe(flat: Mapping[str, float | None]) -> "tuple[list[Metric], list[RunTag]]":
    """Scores with flat names, as means_of has them, the primary first: curves over NFE, and tags.

    {"fid_digits/nfe_02": 20.1} is the metric scores_by_nfe/fid_digits with NFE as its step, and fid_1nfe beside the
    curves is the primary one at the fewest. Of other samplers the primary alone is shown, as fid_digits_euler. Floors,
    which no NFE changes, are tags.
    """
    from mlflow.entities import Metric, RunTag

    now, primary = round(time.time() * 1000), next(iter(flat)).partition("/")[0]
    curves, tags = dict[tuple[str, int], float](), list[RunTag]()
    for name, value in flat.items():
        score, _, at = name.partition("/")
        found = re.fullmatch(r"(?:(.+)_)?nfe_(\d+)", at)
        if value is None:
            continue
        if not found:
            tags.append(RunTag(f"{at}.{score}", f"{value:.5g}"))
        elif not found[1] or score == primary:
            curves[f"{score}{f'_{found[1]}' if found[1] else ''}", int(found[2])] = value
    metrics = [Metric(f"{BY_NFE}/{name}", value, now, nfe) for (name, nfe), value in curves.items()]
    least = min((nfe for name, nfe in curves if name == primary), default=None)
    if least is not None:
        headline = f"{primary.partition('_')[0]}_{least}nfe"
        metrics.append(Metric(headline, curves[primary, least], now, 0))
    return metrics, tags


def data_input(data: Mapping) -> "DatasetInput":
    """What a run says of its data, as MLflow has it. data: name, sha256, place and facts."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    source, facts = json.dumps({"uri": data["place"]}), json.dumps(data["facts"])
    found = Dataset(data["name"], data["sha256"][:36], "local", source, profile=facts)
    return DatasetInput(found, [InputTag("mlflow.data.context", "training")])


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
