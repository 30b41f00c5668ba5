"""What a server counts, in the text that Prometheus reads."""

from collections import Counter
from collections.abc import Iterator, Mapping

BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds of a call
KIND = "text/plain; version=0.0.4; charset=utf-8"  # the format's own content type


class Metrics:
    """Calls by status, their time, and the images that were made. Used by one thread, that of the event loop."""

    def __init__(self) -> None:
        self._calls: Counter[int] = Counter()
        self._within: Counter[float] = Counter()  # calls that took at most so many seconds
        self._seconds, self._images = 0.0, 0

    def count(self, status: int, seconds: float, images: int) -> None:
        """Take a call to /invocations."""
        self._calls[status] += 1
        self._seconds, self._images = self._seconds + seconds, self._images + images
        self._within.update(edge for edge in BUCKETS if seconds <= edge)

    def text(self, now: Mapping[str, float]) -> str:
        """All of it. now: gauges, {name: value}."""
        return "\n".join([*self._lines(now), ""])

    def _lines(self, now: Mapping[str, float]) -> Iterator[str]:
        total = self._calls.total()
        yield from _head("calls_total", "counter", "calls to /invocations by HTTP status")
        yield from (f'fewstep_calls_total{{status="{status}"}} {n}' for status, n in sorted(self._calls.items()))
        yield from _head("call_seconds", "histogram", "seconds from a call to its answer")
        yield from (f'fewstep_call_seconds_bucket{{le="{edge:g}"}} {self._within[edge]}' for edge in BUCKETS)
        yield f'fewstep_call_seconds_bucket{{le="+Inf"}} {total}'
        yield f"fewstep_call_seconds_sum {self._seconds:.6f}"
        yield f"fewstep_call_seconds_count {total}"
        yield from _head("images_total", "counter", "images (or points) that were made")
        yield f"fewstep_images_total {self._images}"
        for name, value in now.items():
            yield from _head(name, "gauge", name.replace("_", " "))
            yield f"fewstep_{name} {value:g}"


def _head(name: str, kind: str, words: str) -> Iterator[str]:
    yield f"# HELP fewstep_{name} {words}"
    yield f"# TYPE fewstep_{name} {kind}"
