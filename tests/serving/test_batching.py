"""Orders of several threads in common batches."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch

from fewstep.serving.batching import BatchQueue, Order, best_size

ORDERS = [Order(1 + n % 3, 1 + n % 2, n, n % 5 or None) for n in range(12)]


@pytest.fixture
def model(finished_model):
    return finished_model(labels=True).load()


def sizes_of(model):
    """The batches that the network is called with from now on."""
    sizes = []
    model.function.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))
    return sizes


def alone(model, order):
    labels = None if order.label is None else [order.label] * order.count
    return model.sample(order.nfe, order.seed, range(order.count), labels).astype(int)


def test_what_waits_is_made_together_and_is_what_each_alone_would_get(model):
    expected, queue = [alone(model, order) for order in ORDERS], BatchQueue(model, size=64)
    sizes, free = sizes_of(model), Event()
    queue._worker.submit(free.wait)
    with ThreadPoolExecutor(len(ORDERS)) as callers:
        answers = [callers.submit(queue, [order]) for order in ORDERS]
        deadline = time.monotonic() + 60
        while queue._arrived.qsize() < len(ORDERS) and time.monotonic() < deadline:
            time.sleep(0.001)
        free.set()
        made = [answer.result()[0] for answer in answers]
    for samples, wanted in zip(made, expected, strict=True):
        assert samples.shape == wanted.shape
        assert abs(samples - wanted).max() <= 1
    kinds = {(order.nfe, order.label is None) for order in ORDERS}
    assert len(sizes) == sum(nfe for nfe, _ in kinds)
    assert max(sizes) > max(order.count for order in ORDERS)


def test_a_batch_is_no_larger_than_its_size(model):
    queue = BatchQueue(model, size=4)
    sizes = sizes_of(model)
    few, many = queue([Order(3, 1, 0), Order(7, 1, 1)])
    assert (len(few), len(many)) == (3, 7)
    assert sizes == [4, 4, 2]
    assert np.abs(many - alone(model, Order(7, 1, 1))).max() <= 1


def test_a_small_order_does_not_wait_for_the_whole_of_a_large_one(model):
    queue, order_of_answers, free = BatchQueue(model, size=4), [], Event()
    sizes = sizes_of(model)
    queue._worker.submit(free.wait)

    def ask(name, order):
        queue([order])
        order_of_answers.append((name, len(sizes)))

    with ThreadPoolExecutor(3) as callers:
        for number, (name, order) in enumerate(
            (("large", Order(64, 2, 0)), ("same kind", Order(2, 2, 1)), ("another", Order(1, 1, 2))), 1
        ):
            callers.submit(ask, name, order)
            while queue._arrived.qsize() < number:
                time.sleep(0.001)
        free.set()
    answered = dict(order_of_answers)
    assert [name for name, _ in order_of_answers][-1] == "large"
    assert answered["same kind"] <= 4 and answered["another"] <= 4, "calls of the network before the answer"
    assert max(sizes) <= 4


def test_a_turn_is_bounded_by_its_evaluations(model):
    queue = BatchQueue(model, size=8)
    sizes = sizes_of(model)
    (made,) = queue([Order(5, 16, 0)])
    assert sizes == [2] * 32 + [1] * 16
    assert np.abs(made - alone(model, Order(5, 16, 0))).max() <= 1
    assert len(made) == 5


def test_an_order_that_fails_is_its_own_callers(model):
    queue = BatchQueue(model, size=4)
    with pytest.raises(ValueError, match="between 0 and 9"):
        queue([Order(1, 1, 0, label=12)])
    assert len(queue([Order(2, 1, 0)])[0]) == 2
    with pytest.raises(ValueError, match="between 0 and 9"):
        queue([Order(1, 1, 0, label=12), Order(2, 1, 0, label=3)])
    assert len(queue([Order(2, 1, 0, label=3)])[0]) == 2


def test_the_best_size_is_where_more_at_once_is_no_faster():
    def full(size):
        if size > 4:
            raise torch.OutOfMemoryError
        return size

    assert best_size(lambda size: min(size, 6)) == 8
    assert best_size(lambda size: 1.0) == 1
    assert best_size(lambda size: size, largest=32) == 32
    assert best_size(full) == 4
