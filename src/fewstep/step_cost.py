"""What a step of a training costs, from a few that are made: arithmetic, memory and time."""

import math
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
from torch.autograd.graph import saved_tensors_hooks
from torch.utils.flop_counter import FlopCounterMode

from fewstep.training.job import Job
from fewstep.training.loop import Training, Worker

FLOPS_OF_A_STEP = {"cpu": 1e12, "cuda": 2e13}  # of a trial's: seconds
COUNTED = 16  # steps of which the arithmetic is counted
GPUS = (8, 12, 16, 24, 32, 40, 48, 80, 141, 192)  # GiB of those that there are


@dataclass(frozen=True)
class Cost:
    """Of a job. weights: of the student. flops, seconds: of a step of `share` samples, by one worker.

    state_bytes: networks, averages, gradients, optimisers. sample_bytes: what is kept of a sample for the backward
    pass. steps: that were timed, of `tried` samples each.
    """

    weights: int
    share: int
    flops: float
    seconds: float
    state_bytes: int
    sample_bytes: float
    steps: int
    tried: int

    def memory(self, samples: int) -> float:
        """Bytes, at least, of a step that takes so many samples at once."""
        return self.state_bytes + samples * self.sample_bytes

    def gpu(self, samples: int) -> int | None:
        """GiB of the smallest GPU that holds it, with a tenth to spare; None where none does."""
        return next((size for size in GPUS if 1.1 * self.memory(samples) < size * 2**30), None)


def try_steps(job: Job, share: int, worker: Worker, steps: int = 10, seconds: float = 60.0) -> Cost:
    """So many steps, or those that this time allows, of fewer samples where these would take long.

    A single sample, or a group, is tried first, whatever it takes; where the time is over then, what it took stands for
    all.
    """
    end, fewest = time.perf_counter() + seconds, job.recipe.objective.group
    with trial_of(job, fewest, worker) as training:
        with FlopCounterMode(display=False) as counter, _keeping(training) as kept:
            times = [_seconds_of_step(training)]
        if time.perf_counter() < end:
            times = [_seconds_of_step(training)]  # without what the first one prepares
    flops, sample_bytes = counter.get_total_flops() / fewest, sum(kept.values()) / fewest
    state_bytes, left = _state_bytes(training), end - time.perf_counter()
    tried = min(share, FLOPS_OF_A_STEP[worker.device.type] / max(flops, 1), left / 3 / times[0] * fewest)
    tried = int(tried) // fewest * fewest
    if tried:
        with trial_of(job, tried, worker) as training:
            times = step_seconds(training, left, most=steps)
    tried, weights = max(fewest, tried), sum(p.numel() for p in training.networks.student.parameters())
    of_a_step = median(times) * share / tried
    return Cost(weights, share, flops * share, of_a_step, state_bytes, sample_bytes, len(times), tried)


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


@contextmanager
def _keeping(training: Training) -> Generator[dict[int, int]]:
    """{place in memory: bytes} of what autograd keeps meanwhile, beside the weights."""
    known = {p.untyped_storage().data_ptr() for p in training.step_module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept


def _state_bytes(training: Training) -> int:
    networks = training.networks
    trained = sum(p.numel() * p.itemsize for p in training.step_module.trained.parameters())  # their gradients
    frozen = [module for module in (networks.teacher, networks.earlier, networks.distance) if module is not None]
    tensors = [*training.state().values(), *(p for module in frozen for p in module.parameters())]
    return trained + sum(t.numel() * t.itemsize for t in tensors)
