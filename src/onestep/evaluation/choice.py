"""Which features a data set is judged by: chosen once, at ingestion, and kept beside the data."""

import json
from pathlib import Path

from onestep.evaluation.features import Extractor, make_extractor, open_extractor

CHOICE = "choice.json"


def choose_extractor(store, features: str, weights: str | None, folder: Path, on_progress=None) -> None:
    """Keep in folder what `features` names: "classifier" (trained here, once), a shipped extractor, or "inception".

    Points have no features: their folder says so. Raises ValueError for an extractor that is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    chosen = None
    if store.space.kind == "images":
        chosen = features
        if features == "classifier":
            make_extractor(store, folder, on_progress=on_progress)
        else:
            open_extractor(features, weights)
    (folder / CHOICE).write_text(json.dumps({"features": chosen, "weights": weights}) + "\n")


def open_choice(folder: Path) -> Extractor | None:
    """The extractor that was chosen; None for points."""
    choice = json.loads((folder / CHOICE).read_text())
    if choice["features"] is None:
        return None
    return open_extractor(folder if choice["features"] == "classifier" else choice["features"], choice["weights"])
