"""Noise levels at which a student is sampled, found on seeds that reports never use."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from fewstep.diffusion.levels import SIGMA_MAX
from fewstep.evaluation.ladder import Judge
from fewstep.evaluation.sample_stream import in_batches
from fewstep.support.files import write_json

SEED = -1  # of the search: reports take none below 0
CANDIDATES = tuple(float(f"{level:.3g}") for level in np.geomspace(0.1, 40, 10))


def search_levels(
    model, judge: Judge, nfes: Sequence[int], count: int, batch_size: int = 256, on_progress: Callable | None = None
):
    """The model with levels for each NFE from 2 on, greedily: the best list of one NFE less, and the best level more.

    Only a student of the multistep or gamma sampler has levels to choose; others come back as they are. Those after the
    first are among CANDIDATES; of more NFE than there are of these, a model keeps its own. count: samples of a trial.
    on_progress(done, total, note) counts trials.
    """
    if model.samplers[0] not in ("multistep", "gamma"):
        return model
    levels, best = dict(model.spec["levels"]), []
    candidates = [level for level in CANDIDATES if level > model.function.boundary]
    searched = range(2, min(max(nfes), len(candidates) + 1) + 1)
    total = sum(len(candidates) - (nfe - 2) for nfe in searched)
    trials = iter(range(1, total + 1))

    def distance(chosen: list[float]) -> float:
        found = _distance(model, judge, len(chosen) + 1, chosen, count, batch_size)
        if on_progress:
            on_progress(next(trials), total, f"{len(chosen) + 1} NFE")
        return found

    for nfe in searched:
        best = min((sorted([*best, new], reverse=True) for new in candidates if new not in best), key=distance)
        levels[str(nfe)] = best
    return _at(model, levels)


def keep_levels(
    model, store, extractor, nfes: Sequence[int], count: int, file: Path, batch_size: int = 256, on_progress=None
):
    """The model at the best levels for held-out images, which scores are not measured against; file keeps them.

    count, on_progress: as in search_levels. Searched anew where what they depend on is not that of the file, which is
    there whole or not at all.
    """
    of = {"model_sha256": model.sha256, "data_sha256": store.sha256, "extractor": extractor and extractor.sha256}
    of |= {"nfe": max(nfes), "count": count, "own": model.spec["levels"], "candidates": list(CANDIDATES)}
    known = _kept(file)
    if known.get("of") != of:
        found = search_levels(model, Judge.of(store, extractor, "heldout"), nfes, count, batch_size, on_progress)
        known = {"of": of, "levels": found.spec["levels"]}
        write_json(file, known)
    return _at(model, known["levels"])


def at_kept_levels(model, file: Path):
    """The model at the levels that a search for it has left in the file, where there was one."""
    known = _kept(file)
    found = known and known["of"]["model_sha256"] == model.sha256
    return _at(model, known["levels"]) if found else model


def _kept(file: Path) -> dict:
    return json.loads(file.read_text()) if file.exists() else {}


def at_scored_levels(model, scores: dict):
    """The model at the levels that its scores were measured at, by its usual sampler."""
    rows = [r for r in scores["rows"] if (r["model"], r["sampler"]) == (model.spec["name"], model.samplers[0])]
    levels = {str(row["nfe"]): row["levels"][1:] for row in rows}
    return _at(model, {**model.spec.get("levels", {}), **levels})


def _at(model, levels: dict):
    return replace(model, spec={**model.spec, "levels": levels})


def _distance(model, judge: Judge, nfe: int, levels: list[float], count: int, batch_size: int) -> float:
    generate = partial(model.sample, nfe, SEED, levels=[SIGMA_MAX, *levels])
    return judge.distance(in_batches(generate, count, batch_size), seed=0)
