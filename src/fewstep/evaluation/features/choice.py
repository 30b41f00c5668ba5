"""Which features a data set is judged by: chosen once, at ingestion, and kept beside the data."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fewstep.data.space import DataSpace
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features.extractor import Extractor
from fewstep.evaluation.features.pretrained import PRETRAINED
from fewstep.evaluation.features.sources import check_dataset, make_extractor, open_extractor
from fewstep.support.checks import check_value, optional, text
from fewstep.support.device import best_device
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json

CHOICE = "choice.json"
WITHOUT_LABELS = (
    "The data {} have no labels to tell apart: their classifier was trained without, on turned images "
    "(self-supervised). Scores have no IS."
)

ON_WHITE = "The features {} take three channels: scores see transparent images on white."


def choose_extractor(
    store: ArrayStore,
    features: str,
    weights: str | None,
    folder: Path,
    on_progress: Callable[[int, int], None] | None = None,
) -> str:
    """Keep in folder what `features` names: "classifier" (trained here, once), a shipped or a pretrained extractor.

    Points have no features: their folder says so. Returns what a person has to know of it, "" if nothing. Raises
    ValueError for an extractor that is not there or takes other images.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen, note = None, ""
    if store.space.kind == "images":
        chosen = features
        if features == "classifier":
            made = make_extractor(store, folder, on_progress=on_progress)
            note = "" if made.has_classes else WITHOUT_LABELS.format(store.space.name)
        else:
            check_images(open_extractor(features, weights), store.space)
            note = ON_WHITE.format(features) if store.space.shape[0] == 4 and features in PRETRAINED else ""
    write_json(folder / CHOICE, {"features": chosen, "weights": weights})
    return note


def check_extractor(features: str, weights: str | None, space: DataSpace | None) -> None:
    """Raise ValueError, before any data are read, if the extractor is not there or takes other images.

    space: of the data, None where only they can tell.
    """
    if space and space.kind == "points":
        return
    if features == "classifier":
        if space:
            check_dataset(space)
    elif features in PRETRAINED:
        PRETRAINED[features].find(weights)
    elif space:
        check_images(open_extractor(features), space)


def check_images(extractor: Extractor, space: DataSpace) -> None:
    """Raise ValueError if it takes other images than those of a data space."""
    if extractor.shape not in (None, space.shape):
        raise InvalidInput(
            f"the extractor {extractor.name} takes images of {extractor.shape}, and {space.name} are {space.shape}: "
            "evaluation.features=classifier trains one for them."
        )


def check_choice(folder: Path, features: str, weights: str | None) -> None:
    """Raise ValueError if other features were chosen than these."""
    choice = _read_choice(folder / CHOICE)
    if choice["features"] is not None and (choice["features"], choice["weights"]) != (features, weights):
        raise InvalidInput(
            f"evaluation.features must be {choice['features']!r}, which these data were ingested for, got "
            f"{features!r}: to change it, run kedro run --pipelines=ingest."
        )


def open_choice(folder: Path) -> Extractor | None:
    """The extractor that was chosen, on the best device; None for points."""
    choice = _read_choice(folder / CHOICE)
    if choice["features"] is None:
        return None
    if choice["features"] != "classifier":
        return open_extractor(choice["features"], choice["weights"], best_device())
    found = open_extractor(folder, device=best_device())
    return replace(found, data_sha256=found.record["data_sha256"])


def _read_choice(file: Path) -> dict[str, Any]:
    """What choose_extractor kept. Raises InvalidInput where the file says nothing of the kind."""
    try:
        choice = parse_json(file.read_text())
        for name in ("features", "weights"):
            check_value(name, choice[name], optional(text))
    except (ValueError, LookupError, TypeError) as problem:
        raise InvalidInput(
            f"{file} does not say which features were chosen ({reason_of(problem)}): restore it (dvc checkout), or "
            "ingest again with kedro run --pipelines=ingest."
        ) from problem
    return choice
