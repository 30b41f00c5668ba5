"""The latents of a store's images: what models are trained on where an autoencoder is asked for.

`latents.npy` (float16 [N, copies, moments, h, w]: the means of the latents' channels, and behind them their standard
deviations where the autoencoder has some; the second copy is of the mirrored image), `labels.npy` as in the images'
store, the autoencoder, and `latents.json`. Rows are in the order of the images.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fewstep.data.content_hash import content_hash
from fewstep.data.latent_space import AUTOENCODER, LatentSpace, read_space
from fewstep.data.store import AGAIN, LABELS, ArrayStore, check_labels, split_after
from fewstep.data.verification import remember, seen_before
from fewstep.support.checks import at_least, check_fields, one_of, sha256, whole
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import restore_replaced, write_facts
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name

DESCRIPTION, LATENTS = "latents.json", "latents.npy"
FILES = (LATENTS, "labels.npy", DESCRIPTION)
DTYPE = np.dtype("<f2")


@dataclass(frozen=True)
class LatentStore:
    """A store of latents on disk. images_sha256: the hash of the images; sha256: of all that is here."""

    folder: Path
    space: LatentSpace
    count: int
    split: dict[str, list[int]]
    copies: int
    images_sha256: str
    sha256: str

    @classmethod
    def open(cls, folder: str | Path) -> "LatentStore":
        """The store in a folder. Raises ValueError if there is none or its files do not belong together."""
        folder = Path(folder)
        restore_replaced(folder)
        if not (folder / DESCRIPTION).is_file():
            raise InvalidInput(f"There are no latents in {folder} ({DESCRIPTION} is missing). Encode the images first.")
        try:
            facts = parse_json((folder / DESCRIPTION).read_text())
            store = cls(folder, read_latent_space(facts.pop("space"), folder), **facts)
            store._check()
        except (OSError, TypeError, ValueError, LookupError, AttributeError) as error:
            raise InvalidInput(f"The latents in {folder} are damaged ({reason_of(error)}). {AGAIN}") from error
        return store

    def _check(self) -> None:
        check_fields(self, count=whole(at_least(1)), copies=one_of(1, 2), sha256=sha256, images_sha256=sha256)
        rows, labels, (channels, *sides) = self.rows(), self.labels(), self.space.model_shape
        shapes = [(self.count, self.copies, moments * channels, *sides) for moments in (1, 2)]
        if rows.dtype != DTYPE or rows.shape not in shapes or (labels.dtype, labels.shape) != (LABELS, (self.count,)):
            raise InvalidInput(f"arrays unlike {DESCRIPTION}")
        if self.split != split_after(self.split["train"][1], self.count):
            raise InvalidInput(f"rows of training and those held out must be all, got {self.split}")
        check_labels(labels, self.space)

    @property
    def latents_sha256(self) -> str:
        """The hash of what models see, where it is not the images themselves."""
        return self.sha256

    @property
    def mirrored(self) -> bool:
        """Whether mirrored images can be asked for."""
        return self.copies == 2

    def rows(self, split: str | None = None) -> np.ndarray:
        """Moments of a split ("train", "heldout"), or of all rows: a read-only map of the file."""
        return np.load(self.folder / LATENTS, mmap_mode="r")[self._rows(split)]

    def labels(self, split: str | None = None) -> np.ndarray:
        """Labels of a split, or of all rows, int64; -1 for a row without a label."""
        return np.load(self.folder / "labels.npy", mmap_mode="r")[self._rows(split)]

    def verify(self, in_full: bool = False) -> None:
        """Raise ValueError if the content is not what was written, as ArrayStore.verify does."""
        if not in_full and seen_before(self.folder, FILES, self.sha256):
            return
        self.space.check()
        found = content_hash(self.rows(), self.labels(), self.space, self.split)
        if found != self.sha256:
            raise InvalidInput(
                f"The latents in {self.folder} were changed after they were written: their hash is {found}, not "
                f"{self.sha256}. {AGAIN}"
            )
        remember(self.folder, FILES, self.sha256)

    def _rows(self, split: str | None) -> slice:
        return slice(None) if split is None else slice(*self.split[check_name("split", split, self.split)])


Examples = ArrayStore | LatentStore  # what models are trained on


def open_examples(folder: str | Path) -> Examples:
    """The store in a folder, of either kind. Raises what their `open` does."""
    return (LatentStore if (Path(folder) / DESCRIPTION).is_file() else ArrayStore).open(folder)


def read_latent_space(facts: dict[str, Any], folder: Path) -> LatentSpace:
    """The space of a store. Raises ValueError where it is not one of latents."""
    space = read_space(facts, folder)
    if not isinstance(space, LatentSpace):
        raise InvalidInput("its space is one of pixels")
    return space


def describe_latents(folder: Path, images: ArrayStore, space: LatentSpace) -> LatentStore:
    """Write what makes a store of a folder that has the latents of images; the description comes last."""
    np.save(folder / "labels.npy", images.labels())
    shutil.rmtree(folder / AUTOENCODER, ignore_errors=True)  # what an interrupted call has left
    space.write_into(folder)
    rows = np.load(folder / LATENTS, mmap_mode="r")
    facts = {
        "space": space.to_dict(),
        "count": len(rows),
        "split": images.split,
        "copies": rows.shape[1],
        "images_sha256": images.sha256,
        "sha256": content_hash(rows, images.labels(), space, images.split),
    }
    write_facts(folder / DESCRIPTION, facts)
    return LatentStore.open(folder)
