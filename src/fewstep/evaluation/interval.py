"""How sure a mean over seeds is."""

import math
from collections.abc import Sequence
from statistics import fmean, stdev

CONFIDENCE = 0.95  # that the interval of a score holds what more seeds would tend to


def reach(values: Sequence[float], quantile: float) -> float:
    """How far Student's t at this quantile is from the mean of at least two values that are normal and independent."""
    from scipy.stats import t

    return float(t.ppf(quantile, len(values) - 1)) * stdev(values) / math.sqrt(len(values))


def interval(values: Sequence[float]) -> list[float] | None:
    """The two-sided interval of CONFIDENCE about the mean, [low, high]; None where a single value tells nothing."""
    if len(values) < 2 or not all(map(math.isfinite, values)):
        return None
    mean, half = fmean(values), reach(values, (1 + CONFIDENCE) / 2)
    return [mean - half, mean + half]
