"""From a source to an array store, and to the features that scores are measured with."""

from pathlib import Path

from fewstep.config.parameters import DataParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.pipelines.workplace import Workplace


def ingest_images(data: DataParameters, dataset: str, workplace: Workplace) -> ArrayStore:
    """The array store, prepared among unfinished work; what was found is printed."""
    from fewstep.data import describe, ingest

    with progress_bar("ingest") as bar:
        settings = {"heldout": data.heldout, "seed": data.seed, "scale": data.scale}
        store = ingest(data.source, workplace.runs / "images", name=dataset, **settings, on_progress=bar)
    print("\n".join(describe(store)), flush=True)
    return store


def make_extractor(images: ArrayStore, features: str, weights: str | None, workplace: Workplace) -> Path:
    """The feature extractor's folder, prepared among unfinished work; what was trained there for these data stays."""
    from fewstep.evaluation.features.choice import choose_extractor

    folder = workplace.runs / "extractor"
    with progress_bar("extractor") as bar:
        note = choose_extractor(images, features, weights, folder, bar)
    if note:
        print(note, flush=True)
    return folder
