"""`fewstep serve` under load: small requests beside slow ones, and bad ones.

    python benchmarks/serving_load.py --model data/06_models/digits/cd [--requests 2000] [--callers 16] [--slow 300]
                                      [--bad 1000] [--seed 0]

The slow requests come all at once, of several kinds, each of 256 evaluations; the small ones from so many callers, each
of which asks again when it is answered. Printed: how long the small ones take, alone and beside the slow ones, and the
server's memory after a tenth of the requests and after all; then what it says to the bad ones. The status is 1 where
one of the bounds is broken.
"""

import argparse
import http.client
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import quantiles

from bad_requests import JSON, bad_requests, of_requests, picture
from bounds import Bounds

from fewstep.models.model import SavedModel
from fewstep.serving.most import MOST_BYTES

SPREAD, GROWTH = 3, 1.05  # p99 of the median, memory after of memory before
SMALL = of_requests({"num_images": 1, "nfe": 1, "seed": 1})
Answer = tuple[int, float, bytes]  # status, seconds, body


def slow_bodies(height: int, width: int) -> list[bytes]:
    """Requests of 256 evaluations: more images or more steps, and edits. height, width: of the model's images."""
    edits = ({"task": "inpaint", "images": [picture(width, height)] * 64}, {"task": "interpolate", "frames": 64})
    drawn = ({"num_images": 64, "nfe": 4}, {"num_images": 16, "nfe": 16})
    return [of_requests(request) for request in (*drawn, *({"nfe": 4, "edit": edit} for edit in edits))]


class Caller:
    """Asks a server by a connection of its own, and opens another one where the server has closed it."""

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)

    def __call__(self, body: bytes, kind: str = JSON) -> Answer:
        started = time.perf_counter()
        self.connection.request("POST", "/invocations", body, {"content-type": kind})
        answer = self.connection.getresponse()
        said = answer.read()
        return answer.status, time.perf_counter() - started, said


def crowd(port: int, callers: int, requests: Sequence[tuple[bytes, str]]) -> list[Answer]:
    """What callers get that each ask again when they are answered, in the order of the requests."""
    mine = threading.local()

    def ask(request: tuple[bytes, str]) -> Answer:
        mine.caller = getattr(mine, "caller", None) or Caller(port)
        return mine.caller(*request)

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(ask, requests))


def beside(port: int, slow: Sequence[bytes], small: Callable[[], list[Answer]]) -> tuple[list[Answer], list[Answer]]:
    """(answers to small ones, answers to slow ones), which come all at once before."""
    with ThreadPoolExecutor(len(slow) or 1) as pool:
        asked = [pool.submit(Caller(port), body) for body in slow]
        return small(), [each.result() for each in asked]


class Server:
    """`fewstep serve` in a process of its own."""

    def __init__(self, model: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-c", "from fewstep.cli import main; main()", "serve"]
        command += ["--model", str(model), "--port", str(self.port)]
        with log.open("wb") as said:
            self.process = subprocess.Popen(command, stdout=said, stderr=said)
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            if self.process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.5)

    def memory(self) -> float:
        """Megabytes that it has."""
        said = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", said)[1]) / 1024

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def spread(name: str, answers: Sequence[Answer]) -> tuple[float, float]:
    """Median and 99th percentile in seconds, and a printed line."""
    times = quantiles([seconds for _, seconds, _ in answers], n=100)
    p50, p95, p99 = times[49], times[94], times[98]
    words = f"p50 {1000 * p50:7.1f} ms   p95 {1000 * p95:7.1f} ms   p99 {1000 * p99:7.1f} ms"
    print(f"{len(answers)} {name:24} {words}", flush=True)
    return p50, p99


def load(server: Server, options: argparse.Namespace, shape: Sequence[int], bounds: Bounds) -> None:
    slow = [slow_bodies(*shape)[number % 4] for number in range(options.slow)]
    small = [(SMALL, JSON)] * options.requests
    beside(server.port, [SMALL] * options.slow, lambda: crowd(server.port, options.callers, small[: len(small) // 10]))
    beside(server.port, slow[: len(slow) // 10], list)
    before = server.memory()
    spread("small, alone", crowd(server.port, options.callers, small))
    started = time.perf_counter()
    quick, late = beside(server.port, slow, lambda: crowd(server.port, options.callers, small))
    taken = time.perf_counter() - started
    p50, p99 = spread("small, beside slow ones", quick)
    spread("slow", late)
    statuses, after = Counter(status for status, *_ in (*quick, *late)), server.memory()
    print(f"all in {taken:.0f} s, statuses {dict(statuses)}; {before:.0f} MB before, {after:.0f} MB after", flush=True)
    bounds.at_most("answers other than 200", len(quick) + len(late) - statuses[200], 0)
    bounds.at_most("p99 / p50", p99 / p50, SPREAD)
    bounds.at_most("memory after / before", after / before, GROWTH)


def refusals(server: Server, options: argparse.Namespace, bounds: Bounds) -> None:
    bad = list(bad_requests(options.bad, options.seed))
    requests = [*((body, kind) for _, body, kind in bad), (b" " * (MOST_BYTES + 1), JSON)]
    crowd(server.port, options.callers, requests[: len(requests) // 10])
    before = server.memory()
    answers = crowd(server.port, options.callers, requests)
    statuses, longest = Counter(status for status, *_ in answers), max(len(said) for *_, said in answers)
    spread("bad", answers)
    print(f"statuses {dict(statuses)}; the longest answer has {longest} bytes", flush=True)
    after = server.memory()
    print(f"{before:.0f} MB before, {after:.0f} MB after", flush=True)
    accepted = [name for (name, *_), (status, *_) in zip(bad, answers, strict=False) if not 400 <= status < 500]
    if accepted:
        print("not refused:", dict(Counter(accepted)))
    bounds.at_most("bad requests that got another status than 4xx", len(accepted), 0)
    bounds.at_most("memory after / before bad requests", after / before, GROWTH)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model", type=Path, default=Path("data/06_models/digits/cd"), help="a finished model's folder"
    )
    for name, usual in (("requests", 2000), ("callers", 16), ("slow", 300), ("bad", 1000), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options, bounds = parser.parse_args(), Bounds()
    shape = SavedModel.open(options.model).space.shape
    with tempfile.TemporaryDirectory() as temporary:
        log = Path(temporary) / "server.log"
        server = Server(options.model, log)
        try:
            load(server, options, shape[1:], bounds)
            refusals(server, options, bounds)
        finally:
            server.stop()
        said = log.read_text().splitlines()
        print(f"the log has {len(said)} lines; the last: {said[-1][:100]}")
        bounds.at_most("tracebacks in the log", sum("Traceback" in line for line in said), 0)
    bounds.settle()


if __name__ == "__main__":
    main()
