"""What a training may cost, as a number of images that it sees."""

import json
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from onestep.training.job import Job
from onestep.training.loop import Training, Worker

WARM_UP, TRIAL = 5, 20  # steps


@dataclass(frozen=True)
class Budget:
    """One of: images seen, optimiser steps, or seconds of training, which a short trial turns into steps."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    images: int | None = None
    steps: int | None = None
    seconds: float | None = None

    def __post_init__(self):
        given = {name: value for name, value in vars(self).items() if value is not None}
        if len(given) != 1 or not next(iter(given.values())) > 0:
            raise ValueError(f"a budget of {given or 'nothing'}: one of images, steps and seconds is given, above 0.")


def with_budget(job: Job, budget: Budget, ledger: Path, threads: int) -> Job:
    """The job, for as many images as the budget allows.

    ledger: a JSON file that keeps what trials found, so that the same command trains as long the next time. threads: of
    the trial, as many as the training will have.
    """
    size = job.training["batch_size"]
    if budget.seconds is None:
        images = budget.images or budget.steps * size
    else:
        known = json.loads(ledger.read_text()) if ledger.exists() else {}
        key = replace(job, training={**job.training, "images": size}).run_name
        if key not in known:
            known[key] = seconds_per_step(job, threads)
            ledger.parent.mkdir(parents=True, exist_ok=True)
            ledger.write_text(json.dumps(known, indent=2) + "\n")
        images = max(1, round(budget.seconds / known[key])) * size
    return replace(job, training={**job.training, "images": images})


def seconds_per_step(job: Job, threads: int) -> float:
    """The mean time of a step, from a few of them, on this machine."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with tempfile.TemporaryDirectory() as folder:
            training = Training(job, Path(folder), Worker(device=device))
            for _ in range(WARM_UP):
                training.make_step()
            started = time.perf_counter()
            for _ in range(TRIAL):
                training.make_step()
            return (time.perf_counter() - started) / TRIAL
    finally:
        torch.set_num_threads(before)
