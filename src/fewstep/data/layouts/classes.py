"""Sub-folders are classes, pictures at any depth in them."""

from collections.abc import Iterable

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.formats import NOT_READ, suffix_of
from fewstep.data.labelling import Naming, natural_order
from fewstep.data.layouts.listing import list_files
from fewstep.support.errors import InvalidInput

NEEDS = "a sub-folder for each class"


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Every picture with its class."""
    files = tree.pictures()
    labels = [class_of(file) for file in files]
    named = next((label for label in labels if label), None)
    if named is None or naming.unlabelled:
        return None
    check_none_loose(tree, files, named)
    return list_files(tree, files, labels, naming.classes or class_folders(tree, files))


def class_of(file: str) -> str | None:
    """The first folder of a path, None of a file that is in none."""
    return file.partition("/")[0] if "/" in file else None


def class_folders(tree: FileTree, pictures: Iterable[str]) -> list[str]:
    """Folders with pictures in natural order, and empty ones: a class without pictures keeps its number."""
    others = (file for file in tree.files if suffix_of(file) not in NOT_READ)
    occupied = {class_of(file) for file in others}
    empty = {folder for folder in tree.top_folders() if folder not in occupied}
    return natural_order({class_of(file) or "" for file in pictures} - {""} | empty)


def check_none_loose(tree: FileTree, files: Iterable[str], named: str) -> None:
    """Raise ValueError for pictures beside folders of pictures."""
    if loose := next((file for file in files if class_of(file) is None), None):
        raise InvalidInput(
            f"{tree.place} holds pictures ({loose}) beside sub-folders of pictures ({named}). Sub-folders are labels: "
            "put every picture in one, or all of them directly in the folder, or set layout: flat to read all without "
            "labels."
        )
