"""Folders train and test, or other names of these, around classes or pictures, or in each class."""

import re

import numpy as np

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Naming, natural_order
from fewstep.data.layouts.classes import check_none_loose, class_folders, class_of
from fewstep.data.layouts.listing import list_files
from fewstep.support.errors import InvalidInput

NEEDS = "a folder train, and a folder test (val, valid, validation, eval) beside it"
TRAIN = ("train", "training", "trainset")
HELDOUT = (
    *("test", "testing", "testset", "val", "valid", "validate", "validation", "valset", "validset"),
    *("dev", "devset", "eval", "evaluation", "evalset", "holdout", "heldout"),
)


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Pictures of all splits, those for training first; what is in none of them is left out."""
    names = natural_order({class_of(file) or "" for file in tree.pictures()})
    longer = len(names) > 1 and all(map(split_of, names)) and len({str(_rest_of(name)).lower() for name in names}) == 1
    says = {name: split_of(name) or "" if longer else name for name in names}
    train = [name for name in names if is_train(says[name])]
    heldout = [name for name in names if is_heldout(says[name])]
    if not train or (len(heldout) == 0 and len(names) > 1):
        return _by_class(tree, naming)
    train, heldout = ([_unwrapped(tree, name) for name in names] for names in (train, heldout))
    parts = {name: tree.below(name) for name in (*train, *heldout)}
    found = {name: _labelled(part, naming) for name, part in parts.items()}
    heldout = _comparable(found, train, heldout)
    rows = [(f"{name}/{file}", label, name in heldout) for name in (*train, *heldout) for file, label in found[name]]
    files, labels, held = zip(*rows, strict=True)
    folders = {folder for name in (*train, *heldout) for folder in class_folders(parts[name], parts[name].pictures())}
    classes = naming.classes or natural_order(folders) if any(labels) else ()
    return list_files(tree, files, labels, classes, np.array(held) if heldout else None)


def _by_class(tree: FileTree, naming: Naming) -> Listing | None:
    """cat/train and cat/test, or train_cat and test_cat: the names of folders tell class and split of each picture."""
    rows = list[tuple[str, str, bool]]()
    for file in tree.pictures():
        first, second, *_ = [*file.split("/")[:-1], "", ""]
        inside = is_train(second) or is_heldout(second)
        split, label = (second.lower(), first) if inside else (split_of(first), "_".join(_rest_of(first)))
        if not split or not label:
            return None
        rows.append((file, label, is_heldout(split)))
    rows.sort(key=lambda row: row[2])
    trained, tested = ({label for _, label, heldout in rows if heldout == side} for side in (False, True))
    if not tested or not tested <= trained:
        return None
    files, labels, held = zip(*rows, strict=True)
    given = [None] * len(files) if naming.unlabelled else labels
    return list_files(tree, files, given, naming.classes or natural_order(trained), np.array(held))


def is_train(name: str) -> bool:
    """Whether a folder or a file of this name holds training data."""
    return name.lower() in TRAIN


def is_heldout(name: str) -> bool:
    """Whether a folder or a file of this name holds data that are not trained on."""
    return name.lower() in HELDOUT


def split_of(name: str) -> str | None:
    """The split that a name says: "test" of the shard test-00000-of-00002.tar, of the array x_test, of test2017."""
    splits = {part.lower() for part in _parts(name) if is_train(part) or is_heldout(part)}
    return splits.pop() if len(splits) == 1 else None


def _rest_of(name: str) -> tuple[str, ...]:
    """What a name says beside its split: "seg" of seg_train and seg_test, nothing of train2017 and val."""
    return tuple(part for part in _parts(name) if part and part.lower() != split_of(name))


def _parts(name: str) -> list[str]:
    """Its words: of train_A, train-A and trainA "train" and "A"."""
    return re.split("[-_. 0-9]|(?<=[a-z])(?=[A-Z])", name)


def _unwrapped(tree: FileTree, name: str) -> str:
    """The folder of a split, which archives often put in another one that is called alike: seg_train/seg_train."""
    part = tree.below(name)
    inside = {class_of(file) for file in part.pictures()}
    if len(inside) == 1 and (only := inside.pop()) and split_of(only) == split_of(name):
        return f"{name}/{only}"
    return name


def _labelled(part: FileTree, naming: Naming) -> list[tuple[str, str | None]]:
    """The pictures of a split with their classes."""
    files = part.pictures()
    if naming.unlabelled:
        return [(file, None) for file in files]
    if named := next(filter(None, map(class_of, files)), None):
        check_none_loose(part, files, named)
    return [(file, class_of(file)) for file in files]


def _comparable(found: dict[str, list[tuple[str, str | None]]], train: list[str], heldout: list[str]) -> list[str]:
    """The held-out splits whose pictures have classes as those for training have them, or none as they have none."""
    known = {label for name in train for _, label in found[name]}
    kept = [name for name in heldout if {label for _, label in found[name]} & known]
    if wrong := next((name for name in heldout if name not in kept and found[name][0][1] is not None), None):
        raise InvalidInput(
            f"{wrong} has the class {found[wrong][0][1]}, and {train[0]} has none of its classes. Sort both into the "
            f"same classes, take {wrong} away, or set layout: flat to read all without labels."
        )
    return kept
