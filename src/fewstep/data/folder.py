"""Any folder or archive of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from fewstep.data.archives import open_tree
from fewstep.data.encoded import EncodedPictures, Listing
from fewstep.data.labelling import Naming, tuple_of_strings
from fewstep.data.layouts import AUTO, LAYOUTS, read_layout
from fewstep.support.checks import check_fields, instance_of, optional
from fewstep.support.files import home_path
from fewstep.support.names import check_name


@dataclass(frozen=True)
class Folder(EncodedPictures):
    """What `path` holds: a folder, a zip or a tar, an .npz or .npy, or one picture. Hidden files are ignored.

    layout: how pictures, labels and splits lie in it (docs/data.md), "auto" to find out. label_column: where labels are
    in metadata, and "none" for no labels. classes: names of numbered labels, in turn; by default their numbers.
    """

    name: ClassVar[str] = "folder"
    path: str
    layout: str = AUTO
    label_column: str | None = None
    classes: Sequence[str] = ()

    def __post_init__(self):
        check_fields(self, path=_is_path, label_column=optional(instance_of(str, "the name of a column")))
        check_name("layout", self.layout, (AUTO, *LAYOUTS), "pictures")
        object.__setattr__(self, "classes", tuple_of_strings("classes", self.classes))
        super().__post_init__()

    def listing(self) -> Listing:
        tree = open_tree(home_path(self.path))
        return read_layout(tree, self.layout, Naming(self.label_column, tuple(self.classes)))


def _is_path(value: Any, _owner: Any = None) -> str | None:
    """A check: a path that can be written with the data."""
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        return "a path"
    return None if value.isascii() or value == value.encode(errors="replace").decode() else "a path in UTF-8"
