"""A listing of pictures that are files of a tree."""

from collections.abc import Collection, Sequence
from functools import partial

import numpy as np

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.labelling import Value, number_labels


def list_files(
    tree: FileTree,
    files: Sequence[str],
    labels: Sequence[Value],
    classes: Sequence[str] = (),
    heldout: np.ndarray | None = None,
    also_read: Collection[str] = (),
) -> Listing:
    """The pictures in files of a tree, with a label each. also_read: files that labels come from."""
    numbers, names = number_labels(labels, classes, tree.place)
    return Listing(
        lambda: ((tree.name(file), partial(tree.open_file, file)) for file in files),
        numbers,
        names,
        heldout,
        left_out=tree.rest([*files, *also_read]),
    )
