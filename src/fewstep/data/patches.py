"""Patches of scikit-learn's two photographs: small colour images with labels, for tests."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewstep.data.source import Report, Survey
from fewstep.support.checks import at_least, between, check_fields, up_to, whole

CLASSES = ("temple", "flower")


@dataclass(frozen=True)
class Patches:
    """count squares of `side` pixels, half of each photograph, at places drawn by seed."""

    name: ClassVar[str] = "patches"
    count: int = 256
    side: int = 16
    seed: int = 0

    def __post_init__(self):
        check_fields(self, count=up_to(10**9, whole(at_least(8))), side=whole(between(2, 256)))
        check_fields(self, seed=whole(between(0, 2**32 - 1)))

    @property
    def shape(self) -> tuple[int, ...]:
        return 3, self.side, self.side

    def survey(self, report: Report) -> Survey:
        from sklearn.datasets import load_sample_images

        photographs = [image.transpose(2, 0, 1) for image in load_sample_images().images]
        labels = np.arange(self.count) % len(photographs)
        rng = np.random.default_rng(self.seed)
        corners = [rng.integers(0, np.array(photographs[k].shape[1:]) - self.side) for k in labels]

        def rows():
            for k, (top, left) in zip(labels, corners, strict=True):
                yield photographs[k][:, top : top + self.side, left : left + self.side]

        return Survey("images", self.shape, labels.astype(np.int64), rows, CLASSES)
