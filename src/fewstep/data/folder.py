"""Any folder of pictures; its sub-folders, if it has some, are the labels."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import ClassVar

import numpy as np

from fewstep.data.encoded import EncodedPictures, Listing
from fewstep.support.checks import check_fields, instance_of
from fewstep.support.errors import InvalidInput

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")


@dataclass(frozen=True)
class Folder(EncodedPictures):
    """PNG, JPEG and WebP files in `path`, or at any depth in its sub-folders, sorted; hidden ones are ignored."""

    name: ClassVar[str] = "folder"
    path: str

    def __post_init__(self):
        check_fields(self, path=instance_of(str, "a path"))
        super().__post_init__()

    def listing(self) -> Listing:
        root = Path(self.path).expanduser()
        files = _find(root)
        classes = sorted({file.parts[0] for file in files if len(file.parts) > 1})
        loose = next((file for file in files if len(file.parts) == 1), None)
        if classes and loose:
            raise InvalidInput(
                f"{self.path} holds pictures ({loose}) beside sub-folders of pictures ({classes[0]}). Sub-folders are "
                "labels: put every picture in one, or all of them directly in the folder."
            )
        index = {name: label for label, name in enumerate(classes)}
        labels = np.array([index.get(file.parts[0], -1) for file in files], np.int64)
        return Listing(lambda: ((str(root / f), partial(open, root / f, "rb")) for f in files), labels, tuple(classes))


def _find(root: Path) -> list[Path]:
    if not root.is_dir():
        raise InvalidInput(f"There is no folder {root}{' (it is a file)' if root.exists() else ''}.")
    files = [file.relative_to(root) for file in root.rglob("*") if file.suffix.lower() in SUFFIXES]
    files = sorted(f for f in files if not any(p.startswith(".") for p in f.parts) and not (root / f).is_dir())
    if not files:
        raise InvalidInput(f"{root} and its sub-folders hold no picture ({', '.join(SUFFIXES)}).")
    return files
