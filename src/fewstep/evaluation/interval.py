"""How certain a mean over seeds is."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

CONFIDENCE = 0.95  # that the interval of a score contains the mean over infinitely many seeds


def reach(values: Sequence[float], quantile: float) -> float:
    """The distance of the quantile of Student's t from the mean of at least two independent, normal values."""
    from scipy.stats import t

    return float(t.ppf(quantile, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def interval(values: Sequence[float]) -> list[float] | None:
    """The two-sided interval of CONFIDENCE around the mean, [low, high]; None for fewer than two finite values."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    mean, half = fmean(values), reach(values, (1 + CONFIDENCE) / 2)
    return [mean - half, mean + half]
