"""A classifier in two files: its weights, and how it is built and was trained."""

from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save

from fewstep.data.space import MOST_CLASSES
from fewstep.evaluation.features.classifier import Classifier
from fewstep.evaluation.features.extractor import Extractor, file_sha256
from fewstep.support.checks import between, check_value, text, whole
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import replaced_file, write_json
from fewstep.support.json_text import parse_json


def save_classifier(stem: Path, classifier: Classifier, record: dict[str, Any]) -> None:
    """stem.safetensors, then stem.json, which is there only when both are whole."""
    stem.with_suffix(".json").unlink(missing_ok=True)
    with replaced_file(stem.with_suffix(".safetensors")) as partial:
        partial.write_bytes(save(classifier.state_dict()))
    record = {**record, "sha256": file_sha256(stem.with_suffix(".safetensors"))}
    write_json(stem.with_suffix(".json"), record)


def open_classifier(stem: Path, device: str = "cpu") -> Extractor:
    """The inverse of save_classifier. Raises ValueError if a file is missing or damaged."""
    weights = stem.with_suffix(".safetensors")
    try:
        record = parse_json(stem.with_suffix(".json").read_text())
        if file_sha256(weights) != record["sha256"]:
            raise InvalidInput(f"{weights.name} is not the file that {stem.name}.json describes")
        _check_record(record)
        classifier = Classifier(record["shape"], record["num_classes"])
        classifier.load_state_dict(load_file(weights))
    except (OSError, LookupError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise InvalidInput(f"The feature extractor {stem} is damaged ({reason_of(error)}). Make it again.") from error
    classifier.eval().requires_grad_(False).to(device)
    shape, by_label = classifier.shape, record["task"] == "labels"
    return Extractor(record["name"], record["sha256"], classifier, shape, by_label, record, device)


def _check_record(record: dict[str, Any]) -> None:
    """Raise InvalidInput unless it says what an extractor is, and of how many classes."""
    check_value("num_classes", record["num_classes"], whole(between(1, MOST_CLASSES)))
    for name in ("task", "name", "data_sha256"):
        check_value(name, record[name], text)
