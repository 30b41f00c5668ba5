"""Where the time of training steps goes: a trace for a viewer, and a summary."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from torch.profiler import ProfilerActivity, profile

from fewstep.training.loop import PHASES, Training

WARM_UP = 3  # steps, in which kernels are chosen and networks compiled
SHOWN = 3  # operators


@dataclass(frozen=True)
class StepProfile:
    """Of a step. seconds: without the profiler, the median. samples: of a worker. phases: {name of PHASES: its share}.

    operators: (name, share of the time, calls in a step) of those that take longest themselves.
    """

    seconds: float
    samples: int
    phases: dict[str, float]
    operators: list[tuple[str, float, float]]

    def lines(self) -> Iterator[str]:
        """The summary."""
        speed = self.samples / self.seconds
        yield f"a step of {self.samples} samples takes {1000 * self.seconds:.4g} ms: {speed:.4g} images/s"
        for name, share in self.phases.items():
            yield f"  {name:10} {1000 * share * self.seconds:8.3g} ms {share:5.0%}"
        for name, share, calls in self.operators:
            yield f"  {share:4.0%} in {calls:g} calls of {name}"


def profile_steps(training: Training, steps: int, trace: Path) -> StepProfile:
    """Make some steps, write what a profiler saw to `trace`, in Chrome's format, and sum it up.

    The step is timed without the profiler, which makes it slower, and shares are of what the profiler saw.
    """
    for _ in range(WARM_UP):
        _finished_step(training)
    seconds = median(_finished_step(training) for _ in range(steps))
    gpu = training.worker.device.type == "cuda"
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if gpu else [])]
    with profile(activities=activities, acc_events=True) as seen:
        for _ in range(steps):
            training.make_step()
        training.report()
    seen.export_chrome_trace(str(trace))
    samples = training.settings.batch_size // training.worker.size
    return StepProfile(seconds, samples, *_shares(list(seen.key_averages()), steps, gpu))


def _finished_step(training: Training) -> float:
    """The seconds of a step, which the device has done then."""
    started = time.perf_counter()
    training.make_step()
    training.report()
    return time.perf_counter() - started


def _shares(events: list[Any], steps: int, gpu: bool) -> tuple[dict[str, float], list[tuple[str, float, float]]]:
    """Of the phases and of the operators, in the time of the device. events: the profiler's sums by name.

    On a GPU the backward pass is launched by a thread of its own, so its time is what the other phases leave.
    """
    own, whole = ("self_device_time_total", "device_time_total") if gpu else ("self_cpu_time_total", "cpu_time_total")
    phases = {event.key: getattr(event, whole) for event in events if event.key in PHASES}
    operators = [event for event in events if event.key not in PHASES and getattr(event, own) > 0]
    if gpu:
        kernels = sum(getattr(event, own) for event in operators)
        phases["backward"] = kernels - sum(time for name, time in phases.items() if name != "backward")
    total = sum(phases.values())
    longest = sorted(operators, key=lambda event: getattr(event, own), reverse=True)[:SHOWN]
    shares = {name: phases.get(name, 0.0) / total for name in PHASES}
    return shares, [(event.key, getattr(event, own) / total, event.count / steps) for event in longest]
