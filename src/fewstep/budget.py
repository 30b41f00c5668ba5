"""What a training may cost, as a number of images that it sees."""

import statistics
from dataclasses import dataclass, replace
from pathlib import Path

from fewstep.launch import LaunchSettings
from fewstep.step_cost import cpu_threads, passes_of_a_sample, step_seconds, trial_of
from fewstep.support.checks import above, check_fields, up_to
from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json
from fewstep.support.names import check_name
from fewstep.training.job import Job

NUMERICS = 1  # of what a budget buys, and of the passes of a step: see fewstep.training.numerics
UNITS = ("images", "passes", "seconds", "steps")
FEWEST = 2  # steps of a trial that are timed


@dataclass(frozen=True)
class Budget:
    """An amount of images seen, of optimiser steps, of passes, or of seconds, which a short trial turns into steps.

    passes: forward passes of the network for one sample that the arithmetic of the training is worth, on any machine.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    unit: str
    amount: float

    def __post_init__(self):
        check_name("unit", self.unit, UNITS, "a budget")
        check_fields(self, amount=up_to(1e15, above(0)))


def with_budget(job: Job, budget: Budget, ledger: Path, launch: LaunchSettings) -> Job:
    """The job, for as many images as the budget allows.

    ledger: a JSON file that keeps what trials found, so that the same command trains as long the next time. launch: how
    the training will run, which the trial imitates in this process: one worker's share of the batch.
    """
    size = job.recipe.training.batch_size
    steps = max(1, round(budget.amount / _cost_of_a_step(job, size, budget, ledger, launch)))
    return replace(job, recipe=job.recipe.trained_for(steps * size))


def _cost_of_a_step(job: Job, size: int, budget: Budget, ledger: Path, launch: LaunchSettings) -> float:
    """In units of the budget."""
    match budget.unit:
        case "images":
            return size
        case "passes":
            return size * passes_of_a_sample(job, launch.device())
        case "seconds":
            return _known_seconds(job, budget, ledger, launch)
        case _:
            return 1


def _known_seconds(job: Job, budget: Budget, ledger: Path, launch: LaunchSettings) -> float:
    known = parse_json(ledger.read_text()) if ledger.exists() else {}
    named = replace(job, recipe=job.recipe.trained_for(1)).run_name
    key = f"{named}, {launch.workers} workers of {launch.threads} threads, gpu {launch.gpu}"
    if key not in known:
        print(f"{job.name}: timing steps for about {budget.amount / 20:g} s", flush=True)
        known[key] = seconds_per_step(job, launch, budget.amount / 20)
        write_json(ledger, known)
    return known[key]


def seconds_per_step(job: Job, launch: LaunchSettings, seconds: float) -> float:
    """The median time of a step, from steps of a trial that takes so long, on this machine."""
    share, device = job.recipe.training.batch_size // max(1, launch.workers), launch.device()
    launch.set_float32_precision(job, device)
    with cpu_threads(launch.threads_here()), trial_of(job, share, launch.worker(job, device)) as training:
        return statistics.median(step_seconds(training, seconds, FEWEST))
