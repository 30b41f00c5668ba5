"""What every store of training examples has, whether its rows are images or latents: a folder of memory-mapped arrays.

Rows of a split stand together, training first, in random order: any first n rows are a fair sample.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from fewstep.data.content_hash import content_hash
from fewstep.data.file_tree import DAMAGED
from fewstep.data.space import DataSpace
from fewstep.data.verification import remember, seen_before
from fewstep.support.checks import at_least, check_fields, sha256, whole
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import restore_replaced
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name

LABELS = np.dtype("<i8")
LABELS_FILE = "labels.npy"
AGAIN = "Restore it (dvc checkout), or ingest the data again."


@dataclass(frozen=True)
class Examples(ABC):
    """A store on disk. Arrays are mapped anew by each call, so that a store can be sent to another process.

    `labels.npy`: int64 [N], -1 for a row without a label. sha256: of all that is here.
    """

    KIND: ClassVar[str]  # what it is in messages
    ROWS: ClassVar[str]  # the file that models are trained on
    DESCRIPTION: ClassVar[str]
    MISSING: ClassVar[str]  # what to do where there is none

    folder: Path
    space: DataSpace
    count: int
    split: dict[str, list[int]]
    sha256: str

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """The store in a folder. Raises ValueError if there is none or its files do not belong together.

        Whether its content is what was written, `verify` says.
        """
        folder = Path(folder)
        restore_replaced(folder)
        if not (folder / cls.DESCRIPTION).is_file():
            raise InvalidInput(f"There is no {cls.KIND} in {folder} ({cls.DESCRIPTION} is missing). {cls.MISSING}")
        try:
            facts = parse_json((folder / cls.DESCRIPTION).read_text())
            store = cls(folder, cls._read_space(facts.pop("space"), folder), **facts)
            store._check()
        except (*DAMAGED, TypeError, LookupError, AttributeError) as error:
            raise InvalidInput(f"The {cls.KIND} in {folder} is damaged ({reason_of(error)}). {AGAIN}") from error
        return store

    @classmethod
    @abstractmethod
    def _read_space(cls, facts: dict[str, Any], folder: Path) -> DataSpace:
        """The space in a description."""

    @abstractmethod
    def _rows_fit(self, rows: np.ndarray) -> bool:
        """Whether an array has the type and the shape of the description."""

    def _check(self) -> None:
        """Raise ValueError for a description that is none, and for arrays unlike it."""
        check_fields(self, count=whole(at_least(1)), sha256=sha256)
        labels = self.labels()
        if not self._rows_fit(self.rows()) or (labels.dtype, labels.shape) != (LABELS, (self.count,)):
            raise InvalidInput(f"arrays unlike {self.DESCRIPTION}")
        train = self.split["train"][1]
        if self.split != split_after(train, self.count) or not 0 < train <= self.count:
            wanted = "its rows must be split into the first ones for training and the rest held out"
            raise InvalidInput(f"{wanted}, got {self.split}")
        check_labels(labels, self.space)

    @property
    @abstractmethod
    def hashes(self) -> tuple[str, str | None]:
        """By which a training names its data: the hash of the images, and of their latents if models see those."""

    @property
    @abstractmethod
    def mirrored(self) -> bool:
        """Whether mirrored images can be asked for."""

    def rows(self, split: str | None = None) -> np.ndarray:
        """What models are trained on, of a split ("train", "heldout") or all: a read-only map of the file."""
        return self._array(self.ROWS, split)

    def labels(self, split: str | None = None) -> np.ndarray:
        """Labels of a split, or of all rows, int64; -1 for a row without a label."""
        return self._array(LABELS_FILE, split)

    def verify(self, in_full: bool = False) -> None:
        """Raise ValueError if the content is not what was written.

        Files that look as they did when they were last read in full are not read again, unless `in_full` is asked for.
        """
        if not in_full and seen_before(self.folder, self._files, self.sha256):
            return
        found = content_hash(self.rows(), self.labels(), self.space, self.split)
        if found != self.sha256:
            raise InvalidInput(
                f"The {self.KIND} in {self.folder} was changed after it was written: its hash is {found}, not "
                f"{self.sha256}. {AGAIN}"
            )
        remember(self.folder, self._files, self.sha256)

    @property
    def _files(self) -> tuple[str, ...]:
        return self.ROWS, LABELS_FILE, self.DESCRIPTION

    def _array(self, file: str, split: str | None) -> np.ndarray:
        rows = slice(None) if split is None else slice(*self.split[check_name("split", split, self.split)])
        return np.load(self.folder / file, mmap_mode="r")[rows]


def split_after(train: int, count: int) -> dict[str, list[int]]:
    """The rows of each split, when the first `train` are for training."""
    return {"train": [0, train], "heldout": [train, count]}


def check_labels(labels: np.ndarray, space: DataSpace) -> None:
    """Raise ValueError for a label that is no class of the space, nor -1."""
    if labels.min() < -1 or labels.max() >= len(space.classes):
        raise InvalidInput(
            f"labels must be between -1 (none) and {len(space.classes) - 1}, got {labels.min()} to {labels.max()}."
        )
