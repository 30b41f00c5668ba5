"""Two half circles of points in the plane, from scikit-learn."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fewstep.data.source import Report, Survey
from fewstep.support.checks import at_least, between, check_fields, up_to, whole


@dataclass(frozen=True)
class Moons:
    """count points with Gaussian noise of standard deviation `noise` (the circles have radius 1)."""

    name: ClassVar[str] = "moons"
    shape: ClassVar[tuple[int, ...]] = (2,)
    count: int = 8192
    noise: float = 0.05
    seed: int = 0

    def __post_init__(self):
        check_fields(
            self, count=up_to(10**9, whole(at_least(4))), noise=between(0, 10), seed=whole(between(0, 2**32 - 1))
        )

    def survey(self, report: Report) -> Survey:
        from sklearn.datasets import make_moons

        drawn, labels = make_moons(self.count, noise=self.noise, random_state=self.seed)
        points = np.asarray(drawn, np.float32)
        return Survey("points", self.shape, np.asarray(labels, np.int64), lambda: iter(points), ("upper", "lower"))
