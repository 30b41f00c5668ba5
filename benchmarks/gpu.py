"""What a GPU does with this project, in eight minutes: one command for a day with one.

    PYTHONPATH=src python benchmarks/gpu.py [--seconds 480] [--out gpu.json] [--cifar10 FOLDER] [--tiny]

It needs torch, torchvision, scikit-learn and PyYAML, and no Kedro, Ray or MLflow.
Each part has a share of the time, and what one does not use the later ones have. What does not fit is left out, and
said. --out is written after each row. --cifar10: the folder of cifar-10-batches-py, without which the last part trains
on squares of two photographs. --tiny: little networks on a CPU, in less than a minute, to see that all of it works.
"""

import argparse
import gc
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gpu_parts as parts
import torch
from gpu_setting import Setting
from gpu_training import learning_curves

from fewstep.networks import compiled

SHARES = {
    "tests": 0.1,
    "steps": 0.3,
    "sampling": 0.05,
    "derivatives": 0.1,
    "rounding": 0.1,
    "compiled": 0.15,
    "training": 0.2,
}
TINY_SECONDS = 50.0


class OutOfTime(BaseException):
    """The time of a part is over. Like KeyboardInterrupt, it is no Exception, which others might catch."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in whatever is done here after so many seconds."""

    def stop(*_: object) -> None:
        raise OutOfTime

    signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, max(seconds, 1e-3))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


class Report:
    """What was found so far, in a file, and on the screen as it comes."""

    def __init__(self, file: Path, facts: dict[str, Any]):
        self.file, self.found = file, facts | {"rows": [], "left_out": []}

    def add(self, part: str, title: str, row: dict[str, Any]) -> None:
        self.found["rows"].append({"part": part, "title": title, **row})
        shown = ", ".join(f"{name} {value}" for name, value in row.items() if value is not None)
        print(f"  {title:32} {shown}", flush=True)
        self.write()

    def leave_out(self, part: str, title: str) -> None:
        self.found["left_out"].append(f"{part}: {title}")
        self.write()
        print(f"  {title:32} left out: no time", flush=True)

    def write(self) -> None:
        self.file.write_text(json.dumps(self.found, indent=1) + "\n")


def measure(report: Report, part: str, rows: parts.Rows, end: float, after: Callable[[], object] = gc.collect) -> None:
    """Each row, until `end`. An error is a row too: the others are still of use. after: is called after each."""
    for title, work in rows.items():
        if time.perf_counter() >= end:
            report.leave_out(part, title)
            continue
        try:
            with at_most(end - time.perf_counter()):
                row = work()
        except OutOfTime:
            report.leave_out(part, title)
        except Exception as error:
            report.add(part, title, {"error": f"{type(error).__name__}: {error}"[:300]})
        else:
            report.add(part, title, row)
        after()


def train(report: Report, setting: Setting, end: float) -> None:
    """The last part, whose rows come one from another."""
    try:
        with at_most(end - time.perf_counter()):
            for title, row in learning_curves(setting, 0.9 * (end - time.perf_counter())):
                report.add("training", title, row)
    except OutOfTime:
        report.leave_out("training", "the rest")
    except Exception as error:
        report.add("training", "the rest", {"error": f"{type(error).__name__}: {error}"[:300]})


def machine(device: torch.device) -> dict[str, Any]:
    """What the figures are of."""
    gpu = torch.cuda.get_device_name() if device.type == "cuda" else None
    return {"gpu": gpu, "torch": torch.__version__, "python": platform.python_version(), "cpus": os.cpu_count()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, help="480, or 50 with --tiny")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"))
    parser.add_argument("--cifar10", type=Path)
    parser.add_argument("--tiny", action="store_true")
    options = parser.parse_args()
    seconds = options.seconds or (TINY_SECONDS if options.tiny else 480.0)
    started = time.perf_counter()
    if not options.tiny and not torch.cuda.is_available():
        sys.exit("there is no GPU: --tiny shows on a CPU that this works.")
    device = torch.device("cpu" if options.tiny else "cuda")
    if options.tiny:
        compiled.BACKEND = "eager"  # the graphs are made, without a C++ compiler's time
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(device, Path(folder), options.tiny, options.cifar10)
        sizes = {"tiny": options.tiny, "budget_seconds": seconds, "in_place_of_lpips": setting.lpips}
        report = Report(options.out, machine(device) | sizes)
        left = sum(SHARES.values())
        for part, share in SHARES.items():
            now = time.perf_counter()
            end = now + (started + seconds - now) * share / left
            left -= share
            print(f"{part}, {end - now:.0f} s", flush=True)
            if part == "training":
                train(report, setting, end)
            else:
                made: Callable[[Setting], parts.Rows] = getattr(parts, part)
                measure(report, part, made(setting), end, setting.release)
    report.found["seconds"] = round(time.perf_counter() - started, 1)
    report.write()
    print(f"{len(report.found['rows'])} rows in {options.out}, {len(report.found['left_out'])} left out")


if __name__ == "__main__":
    main()
