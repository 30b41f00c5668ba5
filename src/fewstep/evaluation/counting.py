"""Network evaluations, counted where they happen."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

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
