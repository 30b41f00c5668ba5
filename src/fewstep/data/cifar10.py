"""CIFAR-10 as its authors' files, read by torchvision: 50,000 training and 10,000 held-out pictures, 3x32x32."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from fewstep.data.layouts.cifar import published_hashes
from fewstep.data.source import Report, Survey
from fewstep.support.checks import check_fields, instance_of
from fewstep.support.errors import InvalidInput
from fewstep.support.files import home_path
from fewstep.support.torchvision_loading import import_torchvision


@dataclass(frozen=True)
class Cifar10:
    """root: the folder of cifar-10-batches-py. Its files are pickles: only those with the known MD5 are read."""

    name: ClassVar[str] = "cifar10"
    shape: ClassVar[tuple[int, ...]] = (3, 32, 32)
    root: str
    download: bool = False

    def __post_init__(self):
        check_fields(self, root=instance_of(str, "a path"), download=instance_of(bool, "true or false"))

    def survey(self, report: Report) -> Survey:
        import_torchvision()
        from torchvision.datasets import CIFAR10

        root = home_path(self.root)
        if self.download:
            _download(CIFAR10, root)
        _check_files(CIFAR10, root)
        train, test = (CIFAR10(root, train=side) for side in (True, False))
        labels = np.array(train.targets + test.targets, np.int64)
        heldout = np.arange(len(labels)) >= len(train.targets)

        def rows():
            for part in (train, test):
                yield from part.data.transpose(0, 3, 1, 2)

        return Survey("images", self.shape, labels, rows, tuple(train.classes), heldout)


def _download(dataset: Any, root: Path) -> None:
    try:
        dataset(root, download=True)
    except (OSError, RuntimeError) as error:
        raise InvalidInput(f"CIFAR-10 could not be downloaded from {dataset.url} to {root}: {error}") from error


def _check_files(dataset: Any, root: Path) -> None:
    from torchvision.datasets.utils import check_integrity

    folder = root / dataset.base_folder
    for file, md5 in published_hashes(dataset).items():
        if not check_integrity(folder / file, md5):
            state = "is not the file that was published (its MD5 differs)" if (folder / file).exists() else "is missing"
            raise InvalidInput(
                f"{folder / file} {state}. Unpack {dataset.url} in {root}, or set download: true to fetch it there."
            )
