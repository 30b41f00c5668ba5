"""Pairs of noise levels, between which a jump goes, and the time of the linear flow in which flow maps count.

The flow's time is t = sigma / (1 + sigma), 0 for data and 1 for noise; its point is z = x / (1 + sigma), which is
(1 - t) x0 + t noise. So ln sigma is the logit of t, and a lognormal level is a logit-normal time.
"""

from typing import Any

import torch
from torch import Tensor

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.diffusion.levels import NORMAL, lognormal_levels
from fewstep.support.checks import Check, above, one_of

# Checks of an objective's fields: of the ends of the noise, and of the two normal distributions that pairs come from.
ENDS = {"sigma_min": above(0), "sigma_max": above("sigma_min")}
PAIRS: dict[str, Check] = {
    **NORMAL,
    "next_mean": NORMAL["level_mean"],
    "next_std": NORMAL["level_std"],
    "pairs": one_of("sorted", "capped"),
}


def flow_time(sigma: Tensor) -> Tensor:
    """t of a level."""
    return sigma / (1 + sigma)


def level_at(time: Tensor) -> Tensor:
    """sigma of the flow's time, below 1."""
    return time / (1 - time)


def level_between(sigma: Tensor, sigma_next: Tensor, share: float | Tensor) -> Tensor:
    """The level at which this share of the flow's time from sigma down to sigma_next is over, [B]."""
    time = flow_time(sigma)
    return level_at(time - share * (time - flow_time(sigma_next)))


def level_on_way(share: Tensor, settings: Any) -> Tensor:
    """The level at which this share of the flow's time from sigma_max down to sigma_min is over, [B].

    settings: has the fields of ENDS.
    """
    highest, lowest = (torch.full_like(share, end) for end in (settings.sigma_max, settings.sigma_min))
    return level_between(highest, lowest, share)


def lognormal_pairs(settings: Any, rng: TrainingRandomness) -> tuple[Tensor, Tensor]:
    """Levels sigma and sigma_next, at most sigma, [B] each, lognormal both: two published ways to draw t and r.

    settings: has the fields of PAIRS and ENDS. pairs: "sorted", the larger of two levels is sigma (Geng et al. 2025);
    "capped", sigma_next is at most sigma (their code for CIFAR-10). What lies beyond an end of the noise becomes it.
    """
    ends = settings.sigma_min, settings.sigma_max
    first = lognormal_levels(rng.normal(()), settings.level_mean, settings.level_std).clamp(*ends)
    second = lognormal_levels(rng.normal(()), settings.next_mean, settings.next_std).clamp(*ends)
    higher = torch.maximum(first, second) if settings.pairs == "sorted" else first
    return higher, torch.minimum(first, second)
