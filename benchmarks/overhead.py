"""What Kedro, Ray, MLflow, progress, pictures and checkpoints cost a training, beside its bare loop.

    python benchmarks/overhead.py [--steps 600] [--rounds 3]

The same teacher is trained for few and for many steps, bare (in one process: the loop's steps and nothing else) and as
`kedro run --pipelines=teacher`, in turn. The difference between many and few is the cost that grows with the training;
the rest is fixed. Printed: medians over the rounds, and what they make of a training of ten minutes. The status is
1 where that is more than it should be.
"""

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bounds import Bounds

PROJECT = Path(__file__).parent.parent
BATCH = 64
RATIO, FIXED = 1.05, 45  # the most: of the bare loop, and seconds besides

BARE = """
import sys, time, tempfile, torch
from pathlib import Path
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.data import ArrayStore
from fewstep.training.job import Job
from fewstep.training.loop import Training
steps, batch = int(sys.argv[1]), int(sys.argv[2])
changes = {"teacher": {"training": {"images": steps * batch, "batch_size": batch}}}
parameters = RecipeConfigLoader("conf", env="base", runtime_params=changes, **CONFIG_LOADER_ARGS).parameters
torch.set_num_threads(int(sys.argv[3]))
job = Job.of(parameters.teacher, ArrayStore.open("data/02_intermediate/digits/images"))
training = Training(job, Path(tempfile.mkdtemp()))
started = time.perf_counter()
for _ in range(steps):
    training.make_step()
print(time.perf_counter() - started)
"""


def seconds_bare(folder: Path, steps: int, threads: int) -> float:
    """Of the bare steps."""
    command = [sys.executable, "-c", BARE, str(steps), str(BATCH), str(threads)]
    return float(subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout.split()[-1])


def seconds_whole(folder: Path, steps: int, threads: int) -> float:
    """Of the command that a user types, from start to end."""
    size = f"teacher.training.images={steps * BATCH},teacher.training.batch_size={BATCH}"
    params = f"{size},fresh=true,launch.threads={threads}"
    started = time.perf_counter()
    command = ["-m", "kedro", "run", "--env=base", "--pipelines=teacher", f"--params={params}"]
    subprocess.run([sys.executable, *command], cwd=folder, check=True, capture_output=True)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=600, help="of the long trainings; the short ones have a tenth")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    few, many = max(1, options.steps // 10), options.steps
    times: dict[tuple, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        shutil.copytree(PROJECT / "conf", folder / "conf")
        shutil.copy(PROJECT / "pyproject.toml", folder)
        shutil.copy(PROJECT / ".telemetry", folder)
        (folder / "src").mkdir()  # Kedro looks for it
        ingest = ["-m", "kedro", "run", "--env=base", "--pipelines=ingest"]
        subprocess.run([sys.executable, *ingest], cwd=folder, check=True, capture_output=True)
        for turn in range(options.rounds):
            for steps in (few, many):
                for way in (seconds_bare, seconds_whole):
                    times.setdefault((way, steps), []).append(way(folder, steps, options.threads))
            print(f"round {turn + 1} of {options.rounds} done", flush=True)
    bare, whole = (
        [(long - short) / (many - few) for short, long in zip(times[way, few], times[way, many], strict=True)]
        for way in (seconds_bare, seconds_whole)
    )
    ratio = statistics.median(w / b for w, b in zip(whole, bare, strict=True))
    fixed = statistics.median(short - few * step for short, step in zip(times[seconds_whole, few], whole, strict=True))
    print(f"a step, bare:           {1000 * statistics.median(bare):.1f} ms")
    print(f"a step, whole journey:  {1000 * statistics.median(whole):.1f} ms, {ratio:.3f} of the bare one")
    print(f"fixed cost:             {fixed:.1f} s")
    print(f"ten minutes of training take {600 * ratio + fixed:.0f} s: {100 * (ratio - 1):+.1f} % and {fixed:.0f} s")
    bounds = Bounds()
    bounds.at_most("a step, of the bare one", ratio, RATIO)
    bounds.at_most("seconds of fixed cost", fixed, FIXED)
    bounds.settle()


if __name__ == "__main__":
    main()
