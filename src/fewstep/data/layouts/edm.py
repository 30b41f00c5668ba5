"""The folder or zip of EDM's and StyleGAN's dataset_tool: numbered pictures, and dataset.json with their labels."""

import re
from typing import Any

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Naming, Value
from fewstep.data.layouts.listing import list_files
from fewstep.support.errors import InvalidInput, shown
from fewstep.support.json_text import parse_json

PAIRS = '{"labels": [[file, number], ...]} or {"labels": null}'
NEEDS = f"dataset.json with {PAIRS}"
INDEX = "dataset.json"
NUMBERED = re.compile("[0-9]{5}/img[0-9]{8}[.][a-z]+")


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Pictures sorted by their paths, as EDM reads them."""
    files = tree.pictures()
    facts = _index(tree)
    if facts is None and not (files and all(map(NUMBERED.fullmatch, files))):
        return None
    if facts is None and INDEX in tree.files:
        raise InvalidInput(f"{tree.name(INDEX)} must hold {PAIRS}.")
    labels = _labels(tree, files, None if naming.unlabelled else (facts or {}).get("labels"))
    return list_files(tree, files, labels, naming.classes, also_read=[INDEX])


def _index(tree: FileTree) -> dict[str, Any] | None:
    """What dataset.json says, None where it is not there or is another's."""
    if INDEX not in tree.files:
        return None
    try:
        facts = parse_json(tree.read(INDEX))
    except ValueError as error:
        raise InvalidInput(f"{tree.name(INDEX)} cannot be read as JSON ({error}).") from error
    return facts if isinstance(facts, dict) and "labels" in facts else None


def _labels(tree: FileTree, files: list[str], pairs: Any) -> list[Value]:
    if pairs is None:
        return [None] * len(files)
    try:
        known = {file.replace("\\", "/"): label for file, label in pairs}
    except (TypeError, ValueError, AttributeError):
        raise InvalidInput(f"{tree.name(INDEX)} must hold {PAIRS}.") from None
    for file in files:
        label = known.get(file)
        if not isinstance(label, int | str):
            got = "no label" if label is None else "a list of numbers" if isinstance(label, list) else shown(label)
            raise InvalidInput(f"{tree.name(INDEX)} must give one class number to each picture: {file} has {got}.")
    return [known[file] for file in files]
