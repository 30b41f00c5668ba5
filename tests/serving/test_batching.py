"""Orders of several threads in common batches."""

import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import numpy as np
import pytest
import torch

from fewstep.serving.batching import BatchQueue, Order, OwnOrder, Pace, best_pace

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
    return model.sample(nfe=order.nfe, seed=order.seed, indices=range(order.count), labels=labels).astype(int)


def test_what_waits_is_made_together_and_is_what_each_alone_would_get(model):
    expected, queue = [alone(model, order) for order in ORDERS], BatchQueue(model, Pace(64, 256))
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
    queue = BatchQueue(model, Pace(4, 16))
    sizes = sizes_of(model)
    few, many = queue([Order(3, 1, 0), Order(7, 1, 1)])
    assert (len(few), len(many)) == (3, 7)
    assert sizes == [4, 4, 2]
    assert np.abs(many - alone(model, Order(7, 1, 1))).max() <= 1


def test_a_small_order_does_not_wait_for_the_whole_of_a_large_one(model):
    queue, order_of_answers, free = BatchQueue(model, Pace(4, 16)), [], Event()
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
    # in the third call and in the fifth, and the answer may be seen a little later
    assert answered["another"] < 10 and answered["same kind"] < 10, "calls of the network before the answer, of 35"
    assert max(sizes) <= 4


def test_a_turn_is_bounded_by_its_evaluations(model):
    queue = BatchQueue(model, Pace(8, 32))
    sizes = sizes_of(model)
    (made,) = queue([Order(5, 16, 0)])
    assert sizes == [2] * 32 + [1] * 16
    assert np.abs(made - alone(model, Order(5, 16, 0))).max() <= 1
    assert len(made) == 5


def test_an_order_that_fails_is_its_own_callers(model):
    queue = BatchQueue(model, Pace(4, 16))
    with pytest.raises(ValueError, match="between 0 and 9"):
        queue([Order(1, 1, 0, label=12)])
    assert len(queue([Order(2, 1, 0)])[0]) == 2
    with pytest.raises(ValueError, match="between 0 and 9"):
        queue([Order(1, 1, 0, label=12), Order(2, 1, 0, label=3)])
    assert len(queue([Order(2, 1, 0, label=3)])[0]) == 2


def ask_while_busy(queue, calls):
    """(name, parts of work before its answer) of calls {name: orders} that all come before the first is begun."""
    answers, free, work = [], Event(), []
    queue._worker.submit(free.wait)

    def count(*_):
        time.sleep(0.005)  # in which an answer is seen
        work.append(None)

    queue.model.function.register_forward_pre_hook(count)

    def ask(name, orders):
        queue(orders)
        answers.append((name, len(work)))

    with ThreadPoolExecutor(len(calls)) as callers:
        waited_for = 0
        for name, orders in calls.items():
            callers.submit(ask, name, orders)
            waited_for += len(orders)
            while queue._arrived.qsize() < waited_for:
                time.sleep(0.001)
        free.set()
    return dict(answers)


def own(model, count, nfe=1):
    """An order of images that nobody else's batch makes."""
    return OwnOrder(count, nfe, lambda part: model.sample(nfe=nfe, seed=9, indices=part))


def test_an_order_of_its_own_is_made_in_parts(model):
    queue, parts = BatchQueue(model, Pace(4, 16)), []
    order = OwnOrder(10, 8, lambda part: parts.append(part) or model.sample(nfe=8, seed=3, indices=part))
    (made,) = queue([order])
    assert [len(part) for part in parts] == [2] * 5
    assert np.abs(made - alone(model, Order(10, 8, 3))).max() <= 1


def test_a_small_order_waits_for_one_turn_beside_hundreds_of_large_ones(model):
    queue = BatchQueue(model, Pace(4, 16))
    large = {f"large {n}": [own(model, 8)] if n % 2 else [Order(8, 2, n)] for n in range(30)}
    answered = ask_while_busy(queue, large | {"small": [Order(1, 1, 0)]})
    assert answered["small"] <= 5, "calls of the network before the answer"


def test_a_call_of_many_small_orders_is_a_large_one(model):
    queue = BatchQueue(model, Pace(4, 16))
    many = {"many": [Order(1, 2, n) for n in range(40)]}
    answered = ask_while_busy(queue, many | {"small": [Order(2, 2, 0)]})
    assert answered["small"] <= 6 < answered["many"], "calls of the network before the answer"


def test_large_orders_end_beside_small_ones_that_never_end(model):
    queue, free = BatchQueue(model, Pace(4, 16)), Event()
    with ThreadPoolExecutor(3) as callers:

        def again():
            while not free.is_set():
                queue([Order(1, 1, 0)])

        small = [callers.submit(again) for _ in range(2)]
        (made,) = callers.submit(queue, [own(model, 20, 2)]).result(60)
        free.set()
    assert len(made) == 20 and all(each.exception() is None for each in small)


def test_the_best_batch_is_where_more_at_once_is_no_faster_or_takes_too_long():
    def full(size):
        if size > 4:
            raise torch.OutOfMemoryError
        return 1000 * size

    assert best_pace(lambda size: 1000 * min(size, 6)) == Pace(8, 1200)
    assert best_pace(lambda size: 500.0) == Pace(1, 100)
    assert best_pace(lambda size: 1000.0 * size, largest=32) == Pace(32, 6400)
    assert best_pace(lambda size: size / (0.041 + 0.02 * size)) == Pace(4, 6)  # 8 would take 0.201 s
    assert best_pace(lambda size: 0.5 * size) == Pace(1, 1)
    assert best_pace(full) == Pace(4, 800)
