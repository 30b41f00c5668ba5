"""Samples for several callers at once, in batches of the size that is fastest for the model."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import numpy as np
import torch

from fewstep.models.model import Model

T = TypeVar("T")
TURN = 4  # evaluations of a turn on the device, in batches: what a small request waits for at most
LARGEST, GAIN = 256, 1.1  # a batch is doubled while that makes the model this many times faster
ROUNDS = 3


@dataclass(frozen=True)
class Order:
    """A call for the samples of Model.sample with indices range(count). nfe: network evaluations per image."""

    count: int
    nfe: int
    seed: int
    label: int | None = None


class Waiting:
    """An order that is being made. parts: its samples so far. alone: it shares no batch, since one with it failed."""

    def __init__(self, order: Order):
        self.order, self.result = order, Future[np.ndarray]()
        self.parts: list[np.ndarray] = []
        self.made, self.alone = 0, False

    @property
    def left(self) -> int:
        """Samples that are still to be made."""
        return self.order.count - self.made


class BatchQueue:
    """A model that any number of threads may call. Orders that wait share batches.

    size: samples in a batch; by default the fastest size is measured. A turn on the device is one batch of at most
    TURN x size evaluations. Orders take turns, so that a small one never waits for the whole of a large one.
    """

    def __init__(self, model: Model, size: int | None = None):
        self.model = model
        self._arrived: SimpleQueue[Waiting] = SimpleQueue()
        self._waiting: list[Waiting] = []  # known to the worker alone, whoever waits longest for a turn first
        self._worker = ThreadPoolExecutor(1)  # one, so that torch keeps one team of threads
        self.size = size or self.alone(best_size, partial(speed, model))

    def __call__(self, orders: Sequence[Order]) -> list[np.ndarray]:
        """The samples of each order, [count, ...] stored values."""
        waiting = [Waiting(order) for order in orders]
        for each in waiting:
            self._arrived.put(each)
        self._worker.submit(self._take_turn)
        return [each.result.result() for each in waiting]

    def alone(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function between two batches, and return its result."""
        return self._worker.submit(function, *arguments).result()

    def _take_turn(self) -> None:
        """Make one batch for whoever waits longest, and for orders like it; then let others have their turn."""
        while not self._arrived.empty():
            self._waiting.append(self._arrived.get())
        if not self._waiting:
            return
        shares = self._share_batch()
        try:
            self._make(shares)
        except Exception as problem:
            if len(shares) == 1:
                self._settle(shares[0][0], problem)
            for each, _ in shares:
                each.alone = True  # so that an order fails for its own caller only
        served = [each for each, _ in shares]
        self._waiting = [each for each in self._waiting if each not in served] + [e for e in served if e.left]
        if self._waiting:
            self._worker.submit(self._take_turn)

    def _share_batch(self) -> list[tuple[Waiting, int]]:
        """The orders of the next batch, with the samples that each has in it: the same for all, as far as they go."""
        first = self._waiting[0]
        room = max(1, min(self.size, TURN * self.size // first.order.nfe))
        alike = [first] if first.alone else [each for each in self._waiting if _kind(each) == _kind(first)][:room]
        shares = []
        for number, each in enumerate(sorted(alike, key=lambda each: each.left)):
            taken = min(each.left, room // (len(alike) - number))
            shares.append((each, taken))
            room -= taken
        return shares

    def _make(self, shares: list[tuple[Waiting, int]]) -> None:
        """Make the next samples of orders that are alike."""
        rows = [
            (each.order.seed, index, each.order.label)
            for each, count in shares
            for index in range(each.made, each.made + count)
        ]
        seeds, indices, labels = zip(*rows, strict=True)
        given = None if labels[0] is None else torch.tensor(labels)
        samples = self.model.sample(shares[0][0].order.nfe, seeds, indices, given)
        ends = np.cumsum([count for _, count in shares])
        for (each, count), part in zip(shares, np.split(samples, ends[:-1]), strict=True):
            each.parts.append(part)
            each.made += count
            if not each.left:
                self._settle(each)

    def _settle(self, each: Waiting, problem: Exception | None = None) -> None:
        if problem is None:
            each.result.set_result(np.concatenate(each.parts))
        else:
            each.made = each.order.count  # there is nothing left to make
            each.result.set_exception(problem)


def _kind(each: Waiting) -> tuple[int, bool, bool]:
    """What orders of one batch have in common: NFE, and whether they have a label."""
    return each.order.nfe, each.order.label is None, each.alone


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
