"""What a step of a training costs, from a few that are made: arithmetic, memory and time."""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any
from weakref import WeakKeyDictionary, finalize

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from fewstep.data.examples import Examples
from fewstep.models.model import Model, SavedModel, build_function
from fewstep.training.footprint import fits, state_bytes
from fewstep.training.job import Job
from fewstep.training.loop import Training, Worker

FLOPS_OF_A_STEP = {"cpu": 1e12, "cuda": 2e13}  # of a trial's: seconds
COUNTED = 16  # steps of which the arithmetic is counted
GPUS = (8, 12, 16, 24, 32, 40, 48, 80, 141, 192)  # GiB of those that there are


@dataclass(frozen=True)
class Cost:
    """Of a job. weights: of the student. flops, seconds: of a step of `share` samples, by one worker.

    state_bytes: networks, averages, gradients, optimisers. pass_bytes, sample_bytes: the most that forward and backward
    pass have beside it at once, whatever the samples and for each of them. steps: that were timed, of `tried` samples
    each.
    """

    weights: int
    share: int
    flops: float
    seconds: float
    state_bytes: float
    pass_bytes: float
    sample_bytes: float
    steps: int
    tried: int

    def memory(self, samples: int) -> float:
        """Bytes of a step that takes so many samples at once."""
        return self.state_bytes + self.pass_bytes + samples * self.sample_bytes

    def gpu(self, samples: int) -> int | None:
        """GiB of the smallest GPU that holds it, with a tenth to spare; None where none does."""
        return next((size for size in GPUS if fits(self.memory(samples), size * 2**30)), None)


def untrained(job: Job, images: Examples, folder: Path) -> SavedModel:
    """What a training would make, with random weights: a step of what is trained after it costs the same."""
    spec = replace(job.spec, provenance=job.provenance)
    return Model(build_function(spec, images.space), images.space, spec).save(folder)


def try_steps(job: Job, share: int, worker: Worker, steps: int = 10, seconds: float = 60.0) -> Cost:
    """So many steps, or those that this time allows, of fewer samples where these would take long.

    A single sample, or a group, is tried first by one thread, whatever it takes, since several would wait for each
    other on a busy machine; where the time is over then, what it took stands for all, in time and in memory.
    """
    end, fewest = time.perf_counter() + seconds, job.recipe.objective.group
    with cpu_threads(1), trial_of(job, fewest, worker) as training:
        with FlopCounterMode(display=False) as counter, LiveBytes() as live:
            times = [_seconds_of_step(training)]
        gradients = sum(p.nbytes for p in training.step_module.trained.parameters() if p.requires_grad)
        if time.perf_counter() < end:
            times = [_seconds_of_step(training)]  # without what the first one prepares
    single = times[0]
    flops, left = counter.get_total_flops() / fewest, end - time.perf_counter()
    tried = min(share, FLOPS_OF_A_STEP[worker.device.type] / max(flops, 1), left / 3 / times[0] * fewest)
    tried = max(0, int(tried)) // fewest * fewest
    if tried:
        with trial_of(job, tried, worker) as training:
            times = step_seconds(training, left, most=steps)
    memory = 0.0, max(0.0, live.most - gradients) / fewest  # gradients are part of the state
    for pair in ((2, 4), (1, 2)):
        if sum(pair) * single < seconds / 4:
            with cpu_threads(1):
                memory = bytes_of_passes(job, worker, pair)
            break
    tried, weights = max(fewest, tried), sum(p.numel() for p in training.networks.student.parameters())
    of_a_step = median(times) * share / tried
    return Cost(weights, share, flops * share, of_a_step, state_bytes(job), *memory, len(times), tried)


def passes_of_a_sample(job: Job, device: torch.device) -> float:
    """What a step costs for each sample, in forward passes of the student: by arithmetic, over steps of all the way."""
    fewest = job.recipe.objective.group
    with trial_of(job, fewest, Worker(device=device)) as training:
        batch = training.batches(0, slice(0, fewest), device)
        with torch.no_grad(), FlopCounterMode(display=False) as forward:
            training.networks.student(batch.x0, torch.ones(fewest, device=device), batch.labels)
        places = torch.linspace(0, training.settings.steps - 1, COUNTED).long().tolist()
        with FlopCounterMode(display=False) as steps:
            for training.step in places:
                training.make_step()
    return steps.get_total_flops() / COUNTED / forward.get_total_flops()


@contextmanager
def trial_of(job: Job, batch: int, worker: Worker) -> Generator[Training]:
    """The training of a job, by one worker (of size 1) that takes so many samples at once; nothing is kept of it."""
    numbers = replace(job.recipe.training, batch_size=batch, micro_batch_size=0)
    with TemporaryDirectory() as folder:
        yield Training(replace(job, recipe=replace(job.recipe, training=numbers)), Path(folder), worker)
    torch.cuda.empty_cache()


def step_seconds(training: Training, seconds: float, fewest: int = 1, most: float = math.inf) -> list[float]:
    """Of each step, until they have taken so many seconds together, but for the first, which warms up."""
    times: list[float] = []
    while len(times) <= fewest or (len(times) <= most and sum(times) < seconds):
        times.append(_seconds_of_step(training))
    return times[1:]


def _seconds_of_step(training: Training) -> float:
    started = time.perf_counter()
    training.make_step()
    training.report()  # waits for the device
    return time.perf_counter() - started


@contextmanager
def cpu_threads(count: int) -> Generator[None]:
    """So many threads for torch's operations, meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def bytes_of_passes(job: Job, worker: Worker, tried: tuple[int, int] = (2, 4)) -> tuple[float, float]:
    """The most bytes beside the state that a step has at once: those of any number of samples, and those of each.

    tried: numbers of samples, or of groups, from which those of others follow.
    """
    (first, second), most = (number * job.recipe.objective.group for number in tried), []
    for samples in (first, second):
        with trial_of(job, samples, worker) as training:
            for parameter in training.step_module.trained.parameters():
                if parameter.requires_grad:  # gradients are part of the state
                    parameter.register_post_accumulate_grad_hook(_forget_gradient)
            with LiveBytes() as live:
                training.make_step()
        most.append(live.most)
    of_each = max(0.0, (most[1] - most[0]) / (second - first))
    return max(0.0, most[0] - first * of_each), of_each


def _forget_gradient(parameter: torch.Tensor) -> None:
    parameter.grad = None


class LiveBytes(TorchDispatchMode):
    """How many bytes the tensors that are made meanwhile have at once, at most."""

    def __init__(self):
        super().__init__()
        self.now = self.most = 0
        self._known: WeakKeyDictionary[torch.UntypedStorage, None] = WeakKeyDictionary()

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        for given in tree_leaves((args, kwargs)):  # what was there before does not count
            if isinstance(given, torch.Tensor):
                self._known.setdefault(given.untyped_storage())
        made = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and (storage := tensor.untyped_storage()) not in self._known:
                self._known[storage] = None
                self._count(storage.nbytes())
                finalize(storage, self._count, -storage.nbytes())
        return made

    def _count(self, change: int) -> None:
        self.now += change
        self.most = max(self.most, self.now)
