"""The 1,797 scanned digits that come with scikit-learn: 8x8, gray, ten classes."""

from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np

from fewstep.data.source import Report, Survey


@dataclass(frozen=True)
class Digits:
    """Its ink 0..16 is stored as round(ink * 255 / 16); round(stored * 16 / 255) gives the ink back exactly."""

    name: ClassVar[str] = "digits"
    shape: ClassVar[tuple[int, ...]] = (1, 8, 8)

    def survey(self, report: Report) -> Survey:
        from sklearn.datasets import load_digits

        digits = cast(Any, load_digits())  # a Bunch, which has its keys as attributes
        ink, labels = digits.images, digits.target.astype(np.int64)
        stored = np.rint(ink * (255 / 16)).astype(np.uint8)[:, None]
        return Survey("images", self.shape, labels, lambda: iter(stored), tuple("0123456789"))
