"""How pictures, labels and splits lie in a folder or an archive: one file for each layout that is read.

Each has `read(tree, naming)`, a Listing, or None for a tree of another layout; and NEEDS, what it knows its own by.
"""

from dataclasses import replace
from types import ModuleType

import numpy as np

from fewstep.data.encoded import Listing
from fewstep.data.file_tree import FileTree
from fewstep.data.formats import SUFFIXES, suffix_of
from fewstep.data.labelling import Naming
from fewstep.data.layouts import arrays, cifar, classes, edm, flat, metadata, splits, webdataset
from fewstep.data.layouts.unsupported import no_pictures
from fewstep.support.errors import InvalidInput

AUTO = "auto"
WITH_COLUMNS = ("metadata", "webdataset", "arrays")
INDEXES = (edm.INDEX, *metadata.TABLES)
# In the order in which they are tried: whatever has an index before what goes by names of folders.
LAYOUTS: dict[str, ModuleType] = {
    "cifar": cifar,
    "edm": edm,
    "metadata": metadata,
    "webdataset": webdataset,
    "arrays": arrays,
    "splits": splits,
    "classes": classes,
    "flat": flat,
}


def read_layout(tree: FileTree, layout: str, naming: Naming) -> Listing:
    """What a tree holds, by the layout of a name, or by the first that knows it ("auto"). Raises ValueError."""
    inner, names = without_wrapping(tree), LAYOUTS if layout == AUTO else (layout,)
    readings = ((name, LAYOUTS[name].read(inner, naming)) for name in names)
    name, listing = next((reading for reading in readings if reading[1] is not None), (layout, None))
    if listing is None and name != AUTO and tree.files:
        raise InvalidInput(f"{tree.place} is not laid out as {name!r}, which needs {LAYOUTS[name].NEEDS}.")
    if listing is None or not len(listing.labels):
        raise no_pictures(tree)
    if naming.column is not None and not naming.unlabelled and name not in WITH_COLUMNS:
        raise InvalidInput(
            f"label_column is for layouts {', '.join(WITH_COLUMNS)}; {tree.place} is laid out as {name}."
        )
    found = without_labels(listing) if naming.unlabelled else listing
    return replace(found, layout=f"{name}: {LAYOUTS[name].NEEDS}")


def without_wrapping(tree: FileTree) -> FileTree:
    """The folder that holds everything, where it is the only one and no class: archives often have one around all."""
    while (folder := _only_folder(tree)) and not any(map(_matters, tree.files)):
        inner = tree.below(folder)
        if (
            tree.on_disk
            and any(map(_is_loose_picture, inner.files))
            and not any(file in INDEXES for file in inner.files)
        ):
            return tree
        tree = replace(inner, left_out=tree.rest([f"{folder}/{file}" for file in inner.files]))
    return tree


def _only_folder(tree: FileTree) -> str | None:
    """The one folder, or the one that has pictures where the others have none and are not empty: Annotations."""
    top, pictures = tree.top_folders(), tree.pictures()
    if len(top) > 1 and pictures:
        top = classes.class_folders(tree, pictures)
    return top[0] if len(top) == 1 else None


def _matters(file: str) -> bool:
    """Whether a file directly in a place says that its pictures do not all lie deeper."""
    return _is_loose_picture(file) or file in INDEXES or ("/" not in file and suffix_of(file) in (".npy", ".npz"))


def _is_loose_picture(file: str) -> bool:
    return "/" not in file and suffix_of(file) in SUFFIXES


def without_labels(listing: Listing) -> Listing:
    """The same pictures without labels."""
    return replace(listing, labels=np.full(len(listing.labels), -1, np.int64), classes=())
