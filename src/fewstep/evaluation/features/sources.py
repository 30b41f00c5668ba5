"""Where feature extractors come from: they ship with the package, are trained on the data, or are published."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

from fewstep.data.space import DataSpace
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features.classifier import Classifier, accuracy, check_sides, rotations, train_classifier
from fewstep.evaluation.features.classifier_files import open_classifier, save_classifier
from fewstep.evaluation.features.extractor import Extractor
from fewstep.evaluation.features.pretrained import PRETRAINED, open_pretrained
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

SHIPPED = Path(__file__).parents[1] / "extractors"
TURNED = 50_000  # images that are turned to train on; all orientations of each are held in memory


def open_extractor(source: str | Path, weights: str | Path | None = None, device: str = "cpu") -> Extractor:
    """An extractor that ships with the package ("digits"), a pretrained one, or one in a folder by `make_extractor`.

    weights: of a pretrained one ("inception", "clip-vit-b-32", "dinov2-vit-s-14" ...), as `open_pretrained` takes them.
    Raises ValueError, before any work, if there is no such extractor or its files are missing or changed.
    """
    if str(source) in PRETRAINED:
        return open_pretrained(str(source), weights, device)
    if (Path(source) / "extractor.json").is_file():
        return open_classifier(Path(source) / "extractor", device)
    return open_classifier(SHIPPED / check_name("feature extractor", str(source), [*shipped(), *PRETRAINED]), device)


def shipped() -> list[str]:
    """The extractors that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.json"))


def check_features(name: str) -> str:
    """A name of what a data set can be judged by. Raises ValueError with the nearest if it is none."""
    return check_name("kind of features", name, [*shipped(), "classifier", *PRETRAINED])


def make_extractor(
    store: ArrayStore, folder: str | Path, seed: int = 0, on_progress: Callable[[int, int], None] | None = None
) -> Extractor:
    """Train the classifier of an image store and keep it in folder; one that is there for these data is opened instead.

    store: an ArrayStore. It learns the labels of the training images or, where there are none to tell apart, by how
    far an image is turned; its record says which. Raises ValueError for points, and for the name of a pretrained
    network, by which its scores are called.
    """
    folder, name = Path(folder), store.space.name
    check_dataset(store.space)
    if (folder / "extractor.json").is_file():
        found = open_extractor(folder)
        if (found.record["data_sha256"], found.record.get("seed")) == (store.sha256, seed):
            return found
    images, labels = store.images("train"), np.array(store.labels("train"))
    heldout, heldout_labels = store.images("heldout")[:10_000], np.array(store.labels("heldout"))[:10_000]
    by_label = labels.min() >= 0 and labels.max() > 0
    if not by_label:
        (images, labels), (heldout, heldout_labels) = rotations(images[:TURNED]), rotations(heldout)
    num_classes = int(max(labels.max(), heldout_labels.max())) + 1
    classifier = train_classifier(images, labels, num_classes, seed, on_progress=on_progress)
    record = {
        "name": name,
        "task": "labels" if by_label else "rotations",
        "shape": list(classifier.shape),
        "num_classes": num_classes,
        "heldout_accuracy": round(accuracy(classifier, heldout, heldout_labels), 4),
        "heldout_count": len(heldout),
        "trained_on": {"split": "train", "count": len(images)},
        "data_sha256": store.sha256,
        "seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_classifier(folder / "extractor", classifier, record)
    return open_extractor(folder)


def check_dataset(space: DataSpace) -> None:
    """Raise ValueError unless a classifier can be trained on data of this space."""
    if space.kind != "images":
        raise InvalidInput(f"only images have features, and the data set {space.name} has {space.kind}.")
    if space.name in PRETRAINED:
        raise InvalidInput(
            f"the data set must not be called {space.name}, which is the name of a feature extractor: rename it."
        )
    check_sides(space.shape)


def ship_extractor(name: str = "digits", seed: int | str = 0) -> Extractor:
    """Make the extractor that ships with the package for a source that needs no arguments, split by its defaults."""
    from fewstep.data import ingest

    with tempfile.TemporaryDirectory() as folder:
        made = make_extractor(ingest({"name": name}, Path(folder) / "store"), Path(folder) / "extractor", int(seed))
    assert isinstance(made.network, Classifier)
    SHIPPED.mkdir(exist_ok=True)
    command = f"python -m fewstep.evaluation.features {name} {seed}"
    save_classifier(SHIPPED / name, made.network, {**made.record, "command": command})
    print(f"{SHIPPED / name}.safetensors: held-out accuracy {made.record['heldout_accuracy']}")
    return open_extractor(name)
