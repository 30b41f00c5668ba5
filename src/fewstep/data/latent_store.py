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
from fewstep.data.examples import LABELS_FILE, Examples
from fewstep.data.latent_space import AUTOENCODER, LatentSpace, read_space
from fewstep.data.store import ArrayStore
from fewstep.support.checks import check_fields, one_of, sha256
from fewstep.support.errors import InvalidInput
from fewstep.support.files import write_facts

DESCRIPTION, LATENTS = "latents.json", "latents.npy"
DTYPE = np.dtype("<f2")


@dataclass(frozen=True)
class LatentStore(Examples):
    """A store of latents. images_sha256: the hash of the images."""

    space: LatentSpace
    copies: int
    images_sha256: str

    KIND, ROWS, DESCRIPTION, MISSING = "store of latents", LATENTS, DESCRIPTION, "Encode the images first."

    @classmethod
    def _read_space(cls, facts: dict[str, Any], folder: Path) -> LatentSpace:
        space = read_space(facts, folder)
        if not isinstance(space, LatentSpace):
            raise InvalidInput("its space is one of pixels")
        return space

    def _rows_fit(self, rows: np.ndarray) -> bool:
        check_fields(self, copies=one_of(1, 2), images_sha256=sha256)
        channels, *sides = self.space.model_shape
        shapes = [(self.count, self.copies, moments * channels, *sides) for moments in (1, 2)]
        return rows.dtype == DTYPE and rows.shape in shapes

    @property
    def hashes(self) -> tuple[str, str | None]:
        return self.images_sha256, self.sha256

    @property
    def mirrored(self) -> bool:
        return self.copies == 2

    def verify(self, in_full: bool = False) -> None:
        self.space.check()
        super().verify(in_full)


def open_examples(folder: str | Path) -> Examples:
    """The store in a folder, of either kind. Raises what their `open` does."""
    return (LatentStore if (Path(folder) / DESCRIPTION).is_file() else ArrayStore).open(folder)


def describe_latents(folder: Path, images: ArrayStore, space: LatentSpace) -> LatentStore:
    """Write what makes a store of a folder that has the latents of images; the description comes last."""
    np.save(folder / LABELS_FILE, images.labels())
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
