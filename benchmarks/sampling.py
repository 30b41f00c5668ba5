"""What sampling and evaluating cost beside the network itself, on the digits student.

    python benchmarks/sampling.py [--count 50000] [--rounds 15] [--threads 2]

After `kedro run`. Generation at one evaluation is timed beside bare forward passes, in turn within each round; then
`--count` digits are streamed to a file, and a tenth of them, each in a process of its own, whose peak memory tells
whether it grows; then they are evaluated, and generation and feature extraction are timed within. Last, the main job's
own evaluation is run again, as a user types it. The status is 1 where a figure is beyond its bound.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import torch
from bounds import Bounds
from memory import peak_bytes

from fewstep.data import ArrayStore
from fewstep.evaluation.features.choice import open_choice
from fewstep.evaluation.ladder import Judge, evaluate
from fewstep.evaluation.sample_stream import stream
from fewstep.evaluation.sampling import sampling_settings
from fewstep.models.model import Model

BATCH, LARGER = 64, 256
FORWARDS, SECONDS, BEYOND = 1.1, 120, 0.2  # the most that an image, 50,000 of them, and their evaluation should cost
GROWTH = 1.05  # of memory, from a tenth of them to all, at most
PROVISIONAL = 45  # seconds of the main job's evaluation, at most
EVALUATE = ("-m", "kedro", "run", "--pipelines=evaluate")


def seconds_of(work) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


@torch.inference_mode()
def forwards_an_image(model: Model, rounds: int) -> tuple[float, float]:
    """Generation in units of a bare forward pass, the median over rounds, and the seconds of that pass."""
    x, level = torch.randn(BATCH, *model.space.shape), torch.ones(BATCH)
    labels = torch.zeros(BATCH, len(model.space.classes)) if model.spec.labels else None
    ratios, bare = [], []
    for _ in range(rounds + 1):  # the first warms up
        bare.append(seconds_of(lambda: model.function.network(x, level, labels)))
        ratios.append(seconds_of(lambda: model.sample(nfe=1, seed=0, indices=range(BATCH))) / bare[-1])
    return statistics.median(ratios[1:]), statistics.median(bare[1:])


def generate(folder: str, count: int, threads: int) -> tuple[float, float]:
    """Seconds, and megabytes at the peak, of so many digits in a file."""
    torch.set_num_threads(threads)
    model = Model.load(folder)
    with tempfile.TemporaryDirectory() as place:

        def make(indices):
            return model.sample(nfe=1, seed=0, indices=indices)

        seconds = seconds_of(lambda: stream(make, model.space, count, f"{place}/all.npy", {}, LARGER))
    return seconds, peak_bytes() / 2**20


def beyond(model: Model, store: ArrayStore, extractor, count: int) -> tuple[float, float]:
    """Seconds of an evaluation, and what it takes beyond generation and feature extraction, as a share of these."""
    parts: list[float] = []

    def timed(work):
        def call(*given):
            started = time.perf_counter()
            made = work(*given)
            parts.append(time.perf_counter() - started)
            return made

        return call

    extractor = replace(extractor, network=timed(extractor.network))
    one = sampling_settings(model, model.samplers[0], [1])
    settings = [replace(setting, generate=timed(setting.generate)) for setting in one]
    judge, sizes = Judge.of(store, extractor), {"count": count, "seeds": [0], "batch_size": LARGER}
    parts.clear()
    whole = seconds_of(lambda: evaluate(settings, store, extractor, judge=judge, **sizes))
    return whole, whole / sum(parts) - 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default="data/06_models/digits/cd")
    parser.add_argument("--images", default="data/02_intermediate/digits/images")
    parser.add_argument("--extractor", default="data/03_primary/digits/extractor", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model, count = Model.load(options.model), options.count
    ratio, bare = forwards_an_image(model, options.rounds)
    print(f"an image at batch {BATCH}: {ratio:.3f} bare forward passes of {1000 * bare:.2f} ms (at most {FORWARDS})")
    measured = []
    for some in (count // 10, count):
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            measured.append(pool.submit(generate, options.model, some, options.threads).result())
    (_, little), (seconds, much) = measured
    most = SECONDS * count / 50_000
    print(f"{count:,} images at 1 NFE: {seconds:.1f} s (at most {most:.0f})")
    print(f"peak memory: {little:.0f} MB of {count // 10:,}, {much:.0f} MB of {count:,}")
    store, extractor = ArrayStore.open(options.images), open_choice(options.extractor)
    whole, share = beyond(model, store, extractor, count)
    print(f"their evaluation: {whole:.1f} s, {share:+.1%} beyond generation and features (at most {BEYOND:+.0%})")
    command = [sys.executable, *EVALUATE]
    provisional = seconds_of(lambda: subprocess.run(command, check=True, capture_output=True))
    print(f"kedro run --pipelines=evaluate: {provisional:.1f} s (at most {PROVISIONAL})")
    bounds = Bounds()
    bounds.at_most("bare forward passes an image", ratio, FORWARDS)
    bounds.at_most(f"seconds of {count:,} images", seconds, most)
    bounds.at_most(f"megabytes of {count:,} images", much, GROWTH * little)
    bounds.at_most("evaluation beyond generation and features", share, BEYOND)
    bounds.at_most("seconds of the main job's evaluation", provisional, PROVISIONAL)
    bounds.settle()


if __name__ == "__main__":
    main()
