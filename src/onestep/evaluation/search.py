"""Noise levels at which a student is sampled, found on seeds that reports never use."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from onestep.diffusion.levels import SIGMA_MAX
from onestep.evaluation.ladder import Judge

SEED = -1  # of the search: reports take none below 0
CANDIDATES = tuple(float(f"{level:.3g}") for level in np.geomspace(0.1, 40, 10))


def search_levels(model, judge: Judge, nfes: Sequence[int], count: int, batch_size: int = 256):
    """The model with levels for each NFE from 2 on, greedily: the best list of one NFE less, and the best level more.

    Only a student of the multistep or gamma sampler has levels to choose; others come back as they are. Those after the
    first are among CANDIDATES. count: samples of each trial.
    """
    if model.samplers[0] not in ("multistep", "gamma"):
        return model
    levels, best, boundary = dict(model.spec["levels"]), [], model.function.boundary
    for nfe in range(2, max(nfes) + 1):
        lists = [sorted([*best, new], reverse=True) for new in CANDIDATES if new > boundary and new not in best]
        best = min(lists, key=lambda chosen: _distance(model, judge, nfe, chosen, count, batch_size))
        levels[str(nfe)] = best
    return replace(model, spec={**model.spec, "levels": levels})


def _distance(model, judge: Judge, nfe: int, levels: list[float], count: int, batch_size: int) -> float:
    parts = [range(start, min(start + batch_size, count)) for start in range(0, count, batch_size)]
    samples = [model.sample(nfe, SEED, part, levels=[SIGMA_MAX, *levels]) for part in parts]
    return judge.distance(np.concatenate(samples), seed=0)
