"""Feature extractors: what they are made of, where they are kept, and how they are opened."""

import hashlib
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from fewstep.evaluation.classifier import Classifier, accuracy, rotations, train_classifier
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

SHIPPED = Path(__file__).parent / "extractors"
TURNED = 50_000  # images that are turned to train on; all orientations of each are held in memory


@dataclass(frozen=True)
class Features:
    """features: [N, D], logits: [N, K] of labels, if any; float32 on the CPU: of N images, from one pass."""

    features: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Extractor:
    """A network from uint8 images to features, under the name by which scores are called.

    sha256: of its weights. network: uint8 [B, C, H, W] -> (features [B, D], logits [B, K] if it has them). shape: of
    the images that it takes, None for any. has_classes: it has logits, of labels: an inception score has a meaning.
    """

    name: str
    sha256: str
    network: Callable[[Tensor], tuple[Tensor, ...]]
    shape: tuple[int, int, int] | None = None
    has_classes: bool = True
    record: dict = field(default_factory=dict)
    device: str = "cpu"

    def __call__(self, images: np.ndarray, batch_size: int = 64) -> Features:
        """Features, and logits of labels, of uint8 images [N, C, H, W], in one pass over batches."""
        if images.dtype != np.uint8 or images.ndim != 4 or (self.shape and images.shape[1:] != self.shape):
            wanted = f"[N, {', '.join(map(str, self.shape or ('C', 'H', 'W')))}]"
            given = f"{images.dtype} {list(images.shape)}"
            raise InvalidInput(f"the extractor {self.name} takes uint8 {wanted}, got {given}.")
        with torch.inference_mode():
            batches = (
                torch.from_numpy(np.array(images[i : i + batch_size])) for i in range(0, len(images), batch_size)
            )
            parts = [[part.float().cpu() for part in self.network(batch.to(self.device))] for batch in batches]
        features, *logits = (torch.cat(part) for part in zip(*parts, strict=True))
        return Features(features, *(logits if self.has_classes else []))


def open_extractor(source: str | Path, weights: str | Path | None = None, device: str = "cpu") -> Extractor:
    """An extractor that ships with the package ("digits"), a pretrained one, or one in a folder by `make_extractor`.

    weights: of a pretrained one ("inception", "clip-vit-b-32", "dinov2-vit-s-14" ...), as `open_pretrained` takes them.
    Raises ValueError, before any work, if there is no such extractor or its files are missing or changed.
    """
    from fewstep.evaluation.pretrained import PRETRAINED, open_pretrained

    if source in PRETRAINED:
        return open_pretrained(source, weights, device)
    if (Path(source) / "extractor.json").is_file():
        return _open_classifier(Path(source) / "extractor", device)
    return _open_classifier(SHIPPED / check_name("feature extractor", str(source), [*shipped(), *PRETRAINED]), device)


def shipped() -> list[str]:
    """The extractors that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*.json"))


def check_features(name: str) -> str:
    """A name of what a data set can be judged by. Raises ValueError with the nearest if it is none."""
    from fewstep.evaluation.pretrained import PRETRAINED

    return check_name("kind of features", name, [*shipped(), "classifier", *PRETRAINED])


def make_extractor(store, folder: str | Path, seed: int = 0, on_progress=None) -> Extractor:
    """Train the classifier of an image store and keep it in folder; one that is there for these data is opened instead.

    store: an ArrayStore. It learns the labels of the training images or, where there are none to tell apart, by how
    far an image is turned; its record says which. Raises ValueError for points, and for the name of a pretrained
    network, by which its scores are called.
    """
    from fewstep.evaluation.pretrained import PRETRAINED

    folder, name = Path(folder), store.space.name
    if store.space.kind != "images":
        raise InvalidInput(f"only images have features, and the data set {name} has {store.space.kind}.")
    if name in PRETRAINED:
        raise InvalidInput(
            f"the data set must not be called {name}, which is the name of a feature extractor: rename it."
        )
    if (folder / "extractor.json").is_file():
        found = open_extractor(folder)
        if (found.record["data_sha256"], found.record["seed"]) == (store.sha256, seed):
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
    _save_classifier(folder / "extractor", classifier, record)
    return open_extractor(folder)


def ship_extractor(name: str = "digits", seed: int | str = 0) -> Extractor:
    """Make the extractor that ships with the package for a source that needs no arguments, split by its defaults."""
    from fewstep.data import ingest

    with tempfile.TemporaryDirectory() as folder:
        made = make_extractor(ingest({"name": name}, Path(folder) / "store"), Path(folder) / "extractor", int(seed))
    SHIPPED.mkdir(exist_ok=True)
    command = f"python -m fewstep.evaluation.classifier {name} {seed}"
    _save_classifier(SHIPPED / name, made.network, {**made.record, "command": command})
    print(f"{SHIPPED / name}.safetensors: held-out accuracy {made.record['heldout_accuracy']}")
    return open_extractor(name)


def _save_classifier(stem: Path, classifier: Classifier, record: dict) -> None:
    """stem.safetensors, then stem.json, which is there only when both are whole."""
    stem.with_suffix(".json").unlink(missing_ok=True)
    stem.with_suffix(".safetensors").write_bytes(save(classifier.state_dict()))
    record = {**record, "sha256": file_sha256(stem.with_suffix(".safetensors"))}
    stem.with_suffix(".json").write_text(json.dumps(record, indent=2) + "\n")


def _open_classifier(stem: Path, device: str) -> Extractor:
    weights = stem.with_suffix(".safetensors")
    try:
        record = json.loads(stem.with_suffix(".json").read_text())
        if file_sha256(weights) != record["sha256"]:
            raise InvalidInput(f"{weights.name} is not the file that {stem.name}.json describes")
        classifier = Classifier(record["shape"], record["num_classes"])
        classifier.load_state_dict(load_file(weights))
    except (OSError, KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InvalidInput(f"The feature extractor {stem} is damaged ({error}). Make it again.") from error
    classifier.eval().requires_grad_(False).to(device)
    shape, by_label = classifier.shape, record["task"] == "labels"
    return Extractor(record["name"], record["sha256"], classifier, shape, by_label, record, device)


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
