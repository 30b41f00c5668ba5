"""From a source to an array store, and to the features that scores are measured with."""

from pathlib import Path

from fewstep.console import progress_bar


def ingest_images(data: dict, dataset: str):
    """What writes the array store where the catalog has it."""
    from fewstep.data import ingest

    def write(folder: Path):
        with progress_bar("ingest") as bar:
            settings = {key: data[key] for key in ("heldout", "seed", "scale")}
            return ingest(data["source"], folder, name=dataset, **settings, on_progress=bar)

    return write


def make_extractor(images, features: str, weights: str | None):
    """What keeps the feature extractor's folder."""
    from fewstep.evaluation.extractor_choice import choose_extractor

    def write(folder: Path):
        with progress_bar("extractor") as bar:
            note = choose_extractor(images, features, weights, folder, bar)
        if note:
            print(note, flush=True)

    return write
