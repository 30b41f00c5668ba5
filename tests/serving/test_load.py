"""The benchmark of a server under load, in small: everybody is answered, and what is bad is refused."""

from importlib import import_module
from pathlib import Path

import pytest

from fewstep.serving.batching import Pace
from fewstep.serving.most import MOST_BYTES

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
pytestmark = pytest.mark.slow


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports one by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module


def test_everybody_is_answered_beside_slow_ones(benchmark, serve):
    load, port = benchmark("serving_load"), serve(MOST_BYTES, Pace(16, 64))
    slow, small = load.slow_bodies(8, 8) * 3, [(load.SMALL, load.JSON)] * 40
    quick, late = load.beside(port, slow, lambda: load.crowd(port, 4, small))
    assert [status for status, *_ in (*quick, *late)] == [200] * (len(small) + len(slow))
    assert max(seconds for _, seconds, _ in quick) < max(seconds for _, seconds, _ in late)


def test_bad_requests_are_refused_and_leave_no_traceback(benchmark, serve, caplog):
    port = serve(MOST_BYTES)
    bad = list(benchmark("bad_requests").bad_requests(105, seed=0))
    answers = benchmark("serving_load").crowd(port, 4, [(body, kind) for _, body, kind in bad])
    told = [(name, status, said) for (name, *_), (status, _, said) in zip(bad, answers, strict=True)]
    assert [each for each in told if not 400 <= each[1] < 500] == []
    assert max(len(said) for *_, said in told) < 2000
    assert len(caplog.records) == len(bad) and not any(record.exc_info for record in caplog.records)
