"""Samples for several callers at once, made in batches of the size that suits the model."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue

import numpy as np
import torch

from fewstep.models.model import Model

LARGEST, GAIN = 256, 1.1  # a batch is doubled while that makes so many times as many images a second
ROUNDS = 3


@dataclass(frozen=True)
class Order:
    """count samples of a seed, as Model.sample gives them for range(count)."""

    count: int
    steps: int
    seed: int
    label: int | None = None


class Batches:
    """A model that any number of threads may call. What waits while a batch is made goes into the next one.

    size: samples of a batch, measured if not given.
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
        """What a function returns, called in turn with the batches."""
        return self._worker.submit(function, *arguments).result()

    def _make_waiting(self) -> None:
        alike: dict[tuple, list[tuple[Order, Future]]] = {}
        while not self._waiting.empty():
            order, result = self._waiting.get()
            alike.setdefault((order.steps, order.label is None), []).append((order, result))
        for pairs in alike.values():
            self._settle(pairs)

    def _settle(self, pairs: list[tuple[Order, Future]]) -> None:
        """Give each order its samples. Where that fails, each is tried by itself: its failure is its caller's alone."""
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
        """Of orders that have steps in common, and labels or none."""
        rows = [(order.seed, index, order.label) for order in orders for index in range(order.count)]
        samples = []
        for start in range(0, len(rows), self.size):
            seeds, indices, labels = zip(*rows[start : start + self.size], strict=True)
            given = None if labels[0] is None else torch.tensor(labels)
            samples.append(self.model.sample(orders[0].steps, seeds, indices, given))
        ends = np.cumsum([order.count for order in orders])
        return np.split(np.concatenate(samples), ends[:-1])


def best_size(speed_at: Callable[[int], float], largest: int = LARGEST) -> int:
    """The batch from which on one of twice the size makes hardly more images a second: a power of 2."""
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
    """Images a second in batches of this size, the best of several."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        model.sample(1 if model.samplers[0] == "multistep" else 3, 0, range(size))
        times.append(time.perf_counter() - started)
    return size / min(times)
