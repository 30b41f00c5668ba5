"""Network evaluations, counted where they happen."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass
class Evaluations:
    """calls: of the function. samples: evaluated in them; NFE is samples / images generated, whatever the batch."""

    calls: int = 0
    samples: int = 0


@contextmanager
def count_evaluations(function: nn.Module) -> Iterator[Evaluations]:
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
