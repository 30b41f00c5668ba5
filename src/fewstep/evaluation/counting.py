"""Network evaluations, counted and timed where they happen."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass
class Evaluations:
    """calls: how often the function was called. samples: evaluated in all calls; NFE is samples per generated image."""

    calls: int = 0
    samples: int = 0


@contextmanager
def count_evaluations(function: nn.Module) -> Generator[Evaluations]:
    """Count the evaluations of a function (x [B, ...], ...) -> [B, ...] that happen inside the block."""
    counted = Evaluations()

    def count(module: nn.Module, inputs: object, output: Tensor) -> None:
        counted.calls += 1
        counted.samples += len(output)

    handle = function.register_forward_hook(count)
    try:
        yield counted
    finally:
        handle.remove()


@dataclass
class Clock:
    """seconds: that a function has taken."""

    seconds: float = 0.0


@contextmanager
def timed_passes(function: nn.Module) -> Generator[Clock]:
    """Time the passes of a function that happen inside the block, on a GPU too."""
    clock = Clock()

    def begin(*_: object) -> None:
        clock.seconds -= _now()

    def end(*_: object) -> None:
        clock.seconds += _now()

    handles = function.register_forward_pre_hook(begin), function.register_forward_hook(end)
    try:
        yield clock
    finally:
        for handle in handles:
            handle.remove()


def _now() -> float:
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()
