"""WebDataset's tars: the members of one row have one name, and end in .jpg (the picture) and in .cls or .json."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from fewstep.data.archives import open_tree
from fewstep.data.encoded import Listing, Picture
from fewstep.data.file_tree import FileTree
from fewstep.data.formats import SUFFIXES, suffix_of
from fewstep.data.labelling import Naming, Value, number_labels
from fewstep.data.layouts.splits import is_heldout, split_of
from fewstep.data.source import Found
from fewstep.support.errors import InvalidInput, shown
from fewstep.support.json_text import parse_json

NEEDS = "tars whose members are called key.jpg and key.cls (or key.json)"
TARS = (".tar", ".tar.gz", ".tgz")
LABELS = ("cls", "json")
BESIDE = (*LABELS, "txt")


@dataclass(frozen=True)
class Row:
    """A picture of a shard, with its label."""

    shard: FileTree
    file: str
    label: Value
    heldout: bool


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Pictures in the order of the tars' names and of the members in each, those for training first."""
    shards = _shards(tree)
    rows = sorted((row for shard in shards for row in _rows(shard, naming)), key=lambda row: row.heldout)
    if not rows:
        return None
    labels, classes = number_labels([row.label for row in rows], naming.classes, tree.place)
    held = np.array([row.heldout for row in rows])
    own_split = held.any() and not held.all()

    def pictures() -> Iterator[Picture]:
        return ((row.shard.name(row.file), partial(row.shard.open_file, row.file)) for row in rows)

    return Listing(pictures, labels, classes, held if own_split else None, left_out=_left_out(tree, shards, rows))


def _shards(tree: FileTree) -> list[FileTree]:
    """The tars in a folder that have WebDataset's members, or the tree of the one tar."""
    if not tree.on_disk:
        return [tree] if _has_rows(tree, alone=True) else []
    if tree.pictures():
        return []
    tars = (open_tree(tree.on_disk / file) for file in tree.files if file.endswith(TARS))
    return [shard for shard in tars if _has_rows(shard, alone=False)]


def _has_rows(shard: FileTree, alone: bool) -> bool:
    """Whether a picture has a label or a text beside it. alone: in folders, which may be classes, it must be .cls."""
    pictures = {_key(file)[0] for file in shard.pictures()}
    keys = {
        key for key, end in map(_key, shard.files) if end == "cls" or (end in BESIDE and not (alone and "/" in key))
    }
    return bool(pictures & keys)


def _rows(shard: FileTree, naming: Naming) -> Iterator[Row]:
    members: dict[str, dict[str, str]] = {}
    for file in shard.files:
        key, end = _key(file)
        members.setdefault(key, {})[end] = file
    side = split_of(Path(shard.place).name) or split_of(Path(shard.place).parent.name)
    for key, ends in members.items():
        pictures = [file for file in ends.values() if suffix_of(file) in SUFFIXES]
        if len(pictures) > 1:
            raise InvalidInput(
                f"{shard.name(key)} has several pictures ({', '.join(pictures)}), and a row has one. Keep one of them, "
                "or set layout: flat to read all pictures without labels."
            )
        if pictures:
            yield Row(shard, pictures[0], _label(shard, ends, naming), bool(side and is_heldout(side)))


def _label(shard: FileTree, ends: dict[str, str], naming: Naming) -> Value:
    """The label of a row: a number or a word in .cls, or what .json has in its column of labels."""
    if naming.unlabelled:
        return None
    if "cls" in ends:
        text = shard.read(ends["cls"]).decode("utf-8", "replace").strip()
        return int(text) if re.fullmatch("-?[0-9]{1,9}", text) else text
    if "json" not in ends:
        return None
    place = shard.name(ends["json"])
    try:
        facts = parse_json(shard.read(ends["json"]))
    except ValueError as error:
        raise InvalidInput(f"{place} cannot be read as JSON ({error}).") from error
    if isinstance(facts, int | str):
        return facts
    column = naming.choose_column(facts, place) if isinstance(facts, dict) else None
    label = facts[column] if column else None
    if not isinstance(label, int | str | None):
        raise InvalidInput(f"{place}: {column} must be a whole number or a word, got {shown(label)}.")
    return label


def _key(file: str) -> tuple[str, str]:
    """("shard/0001", "jpg") of shard/0001.jpg: a key ends at the first dot of the last part."""
    folder, slash, last = file.rpartition("/")
    key, _, end = last.partition(".")
    return folder + slash + key, end.lower()


def _left_out(tree: FileTree, shards: list[FileTree], rows: list[Row]) -> Found:
    """What no row has of all shards, and of the folder that they are in."""
    places = {shard.place for shard in shards}
    used = {place: set[str]() for place in places}
    for row in rows:
        used[row.shard.place].add(row.file)
    found = tree.rest([file for file in tree.files if tree.name(file) in places]) if tree.on_disk else Found()
    for shard in shards:
        labels = {file for file in shard.files if _key(file)[1] in LABELS}
        for kind, (count, first) in shard.rest(used[shard.place] | labels).items():
            before, first = found.get(kind, (0, first))
            found[kind] = (before + count, first)
    return found
