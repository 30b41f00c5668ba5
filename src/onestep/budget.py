"""What a training may cost, as a number of images that it sees."""

import json
import math
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from onestep.diffusion.names import check_name
from onestep.training.job import Job
from onestep.training.loop import Training, Worker

WARM_UP, TRIAL = 5, 20  # steps


@dataclass(frozen=True)
class Budget:
    """An amount of images seen, of optimiser steps, or of seconds of training, which a short trial turns into steps."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    unit: str
    amount: float

    def __post_init__(self):
        check_name("unit of a budget", self.unit, ("images", "seconds", "steps"))
        if not 0 < self.amount < math.inf:
            raise ValueError(f"amount is {self.amount}: it is above 0 and finite.")


def with_budget(job: Job, budget: Budget, ledger: Path, threads: int) -> Job:
    """The job, for as many images as the budget allows.

    ledger: a JSON file that keeps what trials found, so that the same command trains as long the next time. threads: of
    the trial, as many as the training will have.
    """
    size = job.training["batch_size"]
    of_a_step = {"images": size, "steps": 1}.get(budget.unit) or _known_seconds(job, ledger, threads)
    steps = max(1, round(budget.amount / of_a_step))
    return replace(job, training={**job.training, "images": steps * size})


def _known_seconds(job: Job, ledger: Path, threads: int) -> float:
    known = json.loads(ledger.read_text()) if ledger.exists() else {}
    key = replace(job, training={**job.training, "images": 1}).run_name
    if key not in known:
        known[key] = seconds_per_step(job, threads)
        ledger.parent.mkdir(parents=True, exist_ok=True)
        ledger.write_text(json.dumps(known, indent=2) + "\n")
    return known[key]


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
