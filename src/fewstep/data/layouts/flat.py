"""Pictures at any depth, without labels."""

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Naming
from fewstep.data.layouts.listing import list_files

NEEDS = "pictures without labels"


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """All pictures."""
    files = tree.pictures()
    return list_files(tree, files, [None] * len(files)) if files else None
