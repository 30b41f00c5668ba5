"""The speeds of models, measured side by side."""

import time
from collections.abc import Sequence

from fewstep.models.model import Model

ROUNDS = 5


def compare_speeds(models: Sequence[Model], nfe: int, batch_size: int) -> list[float]:
    """Images per second of each model, the best of several rounds.

    The models take turns, so that other work on the machine slows all of them alike.
    """
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, taken in zip(models, times, strict=True):
            started = time.perf_counter()
            model.sample(batch_size, nfe)
            taken.append(time.perf_counter() - started)
    return [batch_size / min(taken) for taken in times]
