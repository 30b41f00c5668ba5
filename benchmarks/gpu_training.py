"""The last part of benchmarks/gpu.py: a teacher and a student of CIFAR-10, with scores against the passes they cost."""

import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import numpy as np
from gpu_setting import LITTLE, Setting, read_recipes
from scipy.linalg import sqrtm

from fewstep.data import ArrayStore, ingest
from fewstep.evaluation.features import Extractor, make_extractor
from fewstep.models.model import Model, SavedModel
from fewstep.step_cost import passes_of_a_sample
from fewstep.training.job import Job
from fewstep.training.loop import Training, Worker

SMALLER = {"channels": 64, "num_blocks": 2}  # than DDPM++, for a training of minutes
FOR_TEACHER, TRIED = 0.55, 10  # of the time; steps by which the length of a training is estimated
SCORED = 4  # times in a training
NFE = {"teacher": ("heun", 35), "ect": ("multistep", 1)}


def learning_curves(setting: Setting, seconds: float) -> Iterator[tuple[str, dict[str, Any]]]:
    """(title, row) of a teacher and of ECT from its weights, in so many seconds; scores beside the passes so far."""
    end = time.perf_counter() + seconds
    images, smaller = data_of(setting), LITTLE if setting.tiny else SMALLER
    extractor = make_extractor(images, setting.folder / "features")
    found: SavedModel | None = None
    for name, share in (("teacher", FOR_TEACHER), ("ect", 1.0)):
        recipe = read_recipes("cifar10", smaller, setting.lpips)[name]
        numbers = replace(recipe.training, batch_size=setting.batch, learning_rate_warmup=0, ema_rampup=0.05)
        job = Job.of(replace(recipe, training=replace(numbers, learning_rate=1e-3)), images, found)
        until = time.perf_counter() + share * (end - time.perf_counter())
        job = fitted(setting, job, until - time.perf_counter())
        passes = passes_of_a_sample(job, setting.device)
        training = Training(job, setting.folder / f"run-{name}", Worker(device=setting.device))
        for row in curve(training, extractor, images, setting, until):
            passed = {"passes": round(passes * row["images"]), "data": images.space.name}
            yield f"{name}, {row['images']:,} images", row | passed
        found = training.model().save(setting.folder / f"model-{name}")


def data_of(setting: Setting) -> ArrayStore:
    """CIFAR-10 where it is given, else squares of two photographs."""
    if setting.cifar10:
        return ingest({"name": "cifar10", "root": str(setting.cifar10)}, setting.folder / "data")
    squares = {"name": "patches", "count": 64 if setting.tiny else 8192, "side": setting.shape[1]}
    return ingest(squares, setting.folder / "data")


def fitted(setting: Setting, job: Job, seconds: float) -> Job:
    """The job, as long as the time allows, scores aside."""
    trial = Training(job, setting.folder / f"trial-{job.name}", Worker(device=setting.device))
    trial.make_step()
    trial.report()
    started = time.perf_counter()
    for _ in range(TRIED):
        trial.make_step()
    trial.report()
    steps = int(0.7 * seconds / ((time.perf_counter() - started) / TRIED))
    most = 4 if setting.tiny else steps
    return replace(job, recipe=job.recipe.trained_for(max(1, min(steps, most)) * setting.batch))


def curve(
    training: Training, extractor: Extractor, images: ArrayStore, setting: Setting, until: float
) -> Iterator[dict[str, Any]]:
    """A row at each quarter of a training, or what it came to in time."""
    steps, started = training.settings.steps, time.perf_counter()
    places = {max(1, round(steps * part / SCORED)) for part in range(1, SCORED + 1)}
    for step in count(1):
        training.make_step()
        over = step == steps or time.perf_counter() > until
        if step in places or over:
            found = training.report()
            row = {"images": step * setting.batch, "seconds": round(time.perf_counter() - started, 1)}
            row["loss"] = float(f"{found['loss']:.4g}")
            yield row | score(training.model(), training.job.name, extractor, images, 20 if setting.tiny else 2000)
        if over:
            return


def score(model: Model, name: str, extractor: Extractor, images: ArrayStore, many: int) -> dict[str, Any]:
    """The Frechet distance of samples to held-out images, in features of a classifier of these data."""
    sampler, nfe = NFE[name]
    parts = [range(first, min(first + 500, many)) for first in range(0, many, 500)]
    made = np.concatenate([model.sample(nfe=nfe, seed=0, indices=part, sampler=sampler) for part in parts])
    known = np.array(images.images("train")[:many])
    distance = frechet_distance(*(extractor(rows).features.double().numpy() for rows in (made, known)))
    return {"nfe": nfe, "samples": many, "frechet_distance": round(distance, 3)}


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Of two clouds of features, [N, D] each: Heusel et al. 2017, Eq. 6."""
    (mean_a, cov_a), (mean_b, cov_b) = ((x.mean(0), np.cov(x, rowvar=False)) for x in (a, b))
    mixed = sqrtm(cov_a @ cov_b)
    return float(((mean_a - mean_b) ** 2).sum() + np.trace(cov_a + cov_b - 2 * mixed.real))
