"""A search for the noise levels at which a student is sampled, with a seed that no score uses."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from fewstep.data.store import ArrayStore
from fewstep.diffusion.levels import SIGMA_MAX
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import Judge
from fewstep.evaluation.sample_stream import in_batches
from fewstep.models.model import Model
from fewstep.models.spec import Levels, levels_from_json, levels_to_json
from fewstep.networks.execution import PLAIN
from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json

SEED = -1  # of the search; seeds of scores are never negative
CANDIDATES = tuple(float(f"{level:.3g}") for level in np.geomspace(0.1, 40, 10))


def search_levels(
    model: Model,
    judge: Judge,
    nfes: Sequence[int],
    count: int,
    batch_size: int = 256,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Levels:
    """Levels for each NFE from 2 on, found greedily: the best levels of one NFE less, and the best level to add.

    Only the multistep and gamma samplers have levels to choose; for others the model's own are returned. Levels after
    the first are chosen from CANDIDATES; for more NFE than there are candidates, a model keeps its own. count: samples
    of a trial. on_progress(done, total, note) counts trials.
    """
    if model.samplers[0] not in ("multistep", "gamma"):
        return model.spec.levels
    levels, best = dict(model.spec.levels), []
    candidates = [level for level in CANDIDATES if level > model.least_level]
    searched = range(2, min(max(nfes), len(candidates) + 1) + 1)
    total = sum(len(candidates) - (nfe - 2) for nfe in searched)
    trials = iter(range(1, total + 1))

    def distance(chosen: list[float]) -> float:
        found = _distance(model, judge, len(chosen) + 1, chosen, count, batch_size)
        if on_progress:
            on_progress(next(trials), total, f"{len(chosen) + 1} NFE")
        return found

    # Greedy, because trying every list of n levels would take up to len(candidates)^n trials.
    for nfe in searched:
        best = min((sorted([*best, new], reverse=True) for new in candidates if new not in best), key=distance)
        levels[nfe] = tuple(best)
    return levels


def kept_levels(
    model: Model,
    store: ArrayStore,
    extractor: Extractor | None,
    nfes: Sequence[int],
    count: int,
    file: Path,
    batch_size: int = 256,
    on_progress: Callable[[int, int, str], None] | None = None,
) -> Levels:
    """The best levels, judged against held-out images, because scores are measured against the training images.

    file: keeps the result, so that an interrupted evaluation need not search again. It is used only while everything
    that the result depends on is the same. count, on_progress: as in search_levels.
    """
    of = {"model_sha256": model.sha256, "data_sha256": store.sha256, "extractor": extractor and extractor.sha256}
    if model.execution.precision != PLAIN.precision:
        of |= {"precision": model.execution.precision}
    of |= {"nfe": max(nfes), "count": count, "own": levels_to_json(model.spec.levels), "candidates": list(CANDIDATES)}
    known = parse_json(file.read_text()) if file.exists() else {}
    if known.get("of") != of:
        found = search_levels(model, Judge.of(store, extractor, "heldout"), nfes, count, batch_size, on_progress)
        known = {"of": of, "levels": levels_to_json(found)}
        write_json(file, known)
    return levels_from_json(known["levels"])


def _generate(model: Model, nfe: int, levels: list[float], indices: np.ndarray) -> np.ndarray:
    return model.sample(nfe=nfe, seed=SEED, indices=indices, levels=levels)


def _distance(model: Model, judge: Judge, nfe: int, levels: list[float], count: int, batch_size: int) -> float:
    generate = partial(_generate, model, nfe, [SIGMA_MAX, *levels])
    return judge.distance(in_batches(generate, count, batch_size), seed=0)
