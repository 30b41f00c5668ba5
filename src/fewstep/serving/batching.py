"""Samples for several callers at once, in batches of the size that is fastest for the model."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np
import torch

from fewstep.models.model import Model

LARGEST, GAIN = 256, 1.1  # a batch is doubled while that makes the model this many times faster
ROUNDS = 3


@dataclass(frozen=True)
class Order:
    """A call for the samples of Model.sample with indices range(count). nfe: network evaluations per image."""

    count: int
    nfe: int
    seed: int
    label: int | None = None


class BatchQueue:
    """A model that any number of threads may call. Orders that arrive while a batch is being made share the next one.

    size: samples in a batch; by default the fastest size is measured.
    """

    def __init__(self, model: Model, size: int | None = None):
        self.model, self._waiting = model, SimpleQueue()
        self._worker = ThreadPoolExecutor(1)  # one, so that torch keeps one team of threads
        self.size = size or self.alone(best_size, partial(speed, model))

    def __call__(self, orders: Sequence[Order]) -> list[np.ndarray]:
        """The samples of each order, [count, ...] stored values."""
        results = [Future() for _ in orders]
        for pair in zip(orders, results, strict=True):
            self._waiting.put(pair)
        self._worker.submit(self._make_waiting)  # finds nothing where an earlier turn has taken them along
        return [result.result() for result in results]

    def alone(self, function: Callable, *arguments):
        """Call a function between two batches, and return its result."""
        return self._worker.submit(function, *arguments).result()

    def _make_waiting(self) -> None:
        alike: dict[tuple, list[tuple[Order, Future]]] = {}
        while not self._waiting.empty():
            order, result = self._waiting.get()
            alike.setdefault((order.nfe, order.label is None), []).append((order, result))
        for pairs in alike.values():
            self._settle(pairs)

    def _settle(self, pairs: list[tuple[Order, Future]]) -> None:
        """Give each order its samples. If that fails, make each alone: a bad order fails for its own caller only."""
        try:
            made = self._make([order for order, _ in pairs])
        except Exception as problem:
            if len(pairs) == 1:
                pairs[0][1].set_exception(problem)
            else:
                for pair in pairs:
                    self._settle([pair])
        else:
            for (_, result), samples in zip(pairs, made, strict=True):
                result.set_result(samples)

    def _make(self, orders: list[Order]) -> list[np.ndarray]:
        """Samples for orders of one NFE, either all with a label or all without."""
        rows = [(order.seed, index, order.label) for order in orders for index in range(order.count)]
        samples = []
        for start in range(0, len(rows), self.size):
            seeds, indices, labels = zip(*rows[start : start + self.size], strict=True)
            given = None if labels[0] is None else torch.tensor(labels)
            samples.append(self.model.sample(orders[0].nfe, seeds, indices, given))
        ends = np.cumsum([order.count for order in orders])
        return np.split(np.concatenate(samples), ends[:-1])


def best_size(speed_at: Callable[[int], float], largest: int = LARGEST) -> int:
    """The smallest power of 2 at which doubling the batch hardly gives more images per second."""
    size, best = 1, speed_at(1)
    while size < largest:
        try:
            doubled = speed_at(2 * size)
        except torch.OutOfMemoryError:
            break
        if doubled < GAIN * best:
            break
        size, best = 2 * size, doubled
    return size


def speed(model: Model, size: int) -> float:
    """Images per second in batches of this size, the best of several rounds."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        model.sample(1 if model.samplers[0] == "multistep" else 3, 0, range(size))
        times.append(time.perf_counter() - started)
    return size / min(times)
