"""What every sampler does with levels."""

import math

from torch import Tensor

from fewstep.support.errors import InvalidInput


def check_levels(levels: Tensor, above: float = 0.0, most: float = math.inf) -> Tensor:
    """levels, if there is one, and they decrease and stay above one number and at most another; else ValueError."""
    falls = levels.ndim == 1 and len(levels) > 0 and bool((levels.diff() < 0).all())
    if not (falls and levels[-1] > above and levels[0] <= most and levels[0] < math.inf):
        end = f", at most {most:g}" if most < math.inf else ""
        raise InvalidInput.of("levels", levels.tolist(), f"decreasing and above {above:g}{end}")
    return levels


def each(level: Tensor, x: Tensor) -> Tensor:
    """The level of each sample, [B], with the type of x. level: on the CPU, so that no device is waited for."""
    return x.new_full((len(x),), float(level))
