"""Images for several callers at once, in batches of the size that is fastest for the model."""

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
SECONDS = 0.2  # of a turn on the device, about: a small request waits for one or two of them
LARGEST, GAIN = 256, 1.1  # a batch is doubled while that makes the model this many times faster
ROUNDS = 3


@dataclass(frozen=True)
class Pace:
    """size: images in a batch at most. turn: evaluations in one turn on the device at most, or those of one image."""

    size: int
    turn: int

    def room(self, nfe: int) -> int:
        """Images in a turn, of so many evaluations each."""
        return max(1, min(self.size, self.turn // nfe))


@dataclass(frozen=True)
class Order:
    """A call for the samples of Model.sample with indices range(count). nfe: network evaluations per image."""

    count: int
    nfe: int
    seed: int
    label: int | None = None


@dataclass(frozen=True)
class OwnOrder:
    """A call for images that share no batch with those of others, edited ones for example.

    make: from their places, a part of range(count), to the images, [len(part), ...] stored values.
    """

    count: int
    nfe: int
    make: Callable[[range], np.ndarray]


@dataclass
class Call:
    """Orders that one caller waits for. left: evaluations that are still to be made for them."""

    left: int


class Waiting:
    """An order that is being made. parts: its images so far. alone: it shares no batch, since one with it failed."""

    def __init__(self, order: Order | OwnOrder, call: Call):
        self.order, self.call, self.result = order, call, Future[np.ndarray]()
        self.parts: list[np.ndarray] = []
        self.made, self.alone = 0, isinstance(order, OwnOrder)

    @property
    def left(self) -> int:
        """Images that are still to be made."""
        return self.order.count - self.made

    @property
    def kind(self) -> tuple[int, bool] | None:
        """What orders of one batch have in common: NFE, and whether they have a label. None: it shares no batch."""
        order = self.order
        return None if self.alone or isinstance(order, OwnOrder) else (order.nfe, order.label is None)

    def take(self, images: np.ndarray) -> None:
        """Its next images."""
        self.parts.append(images)
        self._count(len(images))
        if not self.left:
            self.result.set_result(np.concatenate(self.parts))

    def fail(self, problem: Exception) -> None:
        """It cannot be made."""
        self._count(self.left)
        self.result.set_exception(problem)

    def _count(self, images: int) -> None:
        self.made += images
        self.call.left -= images * self.order.nfe


class BatchQueue:
    """A model that any number of threads may call. Orders that wait share batches.

    pace: measured by default, so that a turn, one batch, takes SECONDS at most. Calls take turns, so that a small one
    never waits for the whole of a large one: the one that came first has half of the evaluations, and those with the
    fewest left have the other half.
    """

    def __init__(self, model: Model, pace: Pace | None = None):
        self.model = model
        self._arrived: SimpleQueue[Waiting] = SimpleQueue()
        self._waiting: list[Waiting] = []  # known to the worker alone, whoever came first is first
        self._owed = 0  # evaluations, of a batch each, that the others get before the first has its next turn
        self._worker = ThreadPoolExecutor(1)  # one, so that torch keeps one team of threads
        self.pace = pace or self.alone(best_pace, partial(speed, model))

    def __call__(self, orders: Sequence[Order | OwnOrder]) -> list[np.ndarray]:
        """The images of each order, [count, ...] stored values."""
        call = Call(sum(order.count * order.nfe for order in orders))
        waiting = [Waiting(order, call) for order in orders]
        for each in waiting:
            self._arrived.put(each)
        self._worker.submit(self._take_turn)
        return [each.result.result() for each in waiting]

    def alone(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function between two batches, and return its result."""
        return self._worker.submit(function, *arguments).result()

    def _take_turn(self) -> None:
        """Make one batch for one order, and for others like it."""
        while not self._arrived.empty():
            self._waiting.append(self._arrived.get())
        if not self._waiting:
            self._owed = 0
            return
        shares = self._share_batch(self._next())
        try:
            self._make(shares)
        except Exception as problem:
            if len(shares) == 1:
                shares[0][0].fail(problem)
            for each, _ in shares:
                each.alone = True  # so that an order fails for its own caller only
        self._waiting = [each for each in self._waiting if each.left]
        if self._waiting:
            self._worker.submit(self._take_turn)

    def _next(self) -> Waiting:
        """Whose turn it is."""
        if self._owed:
            chosen = min(self._waiting, key=lambda each: each.call.left)
            self._owed = max(0, self._owed - chosen.order.nfe)
        else:
            chosen = self._waiting[0]
            self._owed = chosen.order.nfe
        return chosen

    def _share_batch(self, first: Waiting) -> list[tuple[Waiting, int]]:
        """The orders of a batch, with the images of each in it.

        First as many of the first as there is room for, then of others like it, those of the smallest calls before the
        rest.
        """
        room = self.pace.room(first.order.nfe)
        others = [each for each in self._waiting if each is not first and each.kind and each.kind == first.kind]
        shares = []
        for each in (first, *sorted(others, key=lambda each: each.call.left)):
            if taken := min(each.left, room):
                shares.append((each, taken))
                room -= taken
        return shares

    def _make(self, shares: list[tuple[Waiting, int]]) -> None:
        """Make the next images of orders that are alike."""
        samples = self._images_of(shares)
        ends = np.cumsum([count for _, count in shares])
        for (each, _), part in zip(shares, np.split(samples, ends[:-1]), strict=True):
            each.take(part)

    def _images_of(self, shares: list[tuple[Waiting, int]]) -> np.ndarray:
        (first, count), *_ = shares
        if isinstance(first.order, OwnOrder):
            return first.order.make(range(first.made, first.made + count))
        rows = [
            (each.order.seed, index, each.order.label)
            for each, count in shares
            if isinstance(each.order, Order)
            for index in range(each.made, each.made + count)
        ]
        seeds, indices, labels = zip(*rows, strict=True)
        given = None if labels[0] is None else torch.tensor(labels)
        return self.model.sample(nfe=first.order.nfe, seed=seeds, indices=indices, labels=given)


def best_pace(speed_at: Callable[[int], float], largest: int = LARGEST) -> Pace:
    """Batches of the smallest power of 2 at which twice as many are hardly faster, or take longer than SECONDS.

    speed_at: evaluations per second in batches of a size.
    """
    size, best = 1, speed_at(1)
    while size < largest:
        try:
            doubled = speed_at(2 * size)
        except torch.OutOfMemoryError:
            break
        if doubled < GAIN * best or 2 * size > SECONDS * doubled:
            break
        size, best = 2 * size, doubled
    return Pace(size, max(size, int(SECONDS * best)))


def speed(model: Model, size: int) -> float:
    """Evaluations per second in batches of this size, the best of several rounds."""
    nfe, times = 1 if model.samplers[0] == "multistep" else 3, []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        model.sample(size, nfe)
        times.append(time.perf_counter() - started)
    return nfe * size / min(times)
