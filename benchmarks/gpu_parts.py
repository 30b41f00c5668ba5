"""The parts of benchmarks/gpu.py: each is {title of a row: function that measures it}, the most telling rows first."""

import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from statistics import median
from typing import Any

import torch
from gpu_rounding import Rounding
from gpu_setting import ROOT, Setting
from plain_style import by_generic_jvp, plain_step
from rounding import tf32
from torch.nn.attention import SDPBackend, sdpa_kernel

from fewstep.models.model import Model, build_function
from fewstep.networks.compiled import compile_passes
from fewstep.networks.dual import jvp
from fewstep.networks.execution import PLAIN, Execution
from fewstep.step_cost import step_seconds, trial_of
from fewstep.training.loop import Training, Worker
from fewstep.training.watching import flops_of_a_sample

Row = dict[str, Any]
Rows = dict[str, Callable[[], Row]]
PEAKS = {  # dense TFLOP/s by the makers' data sheets: bf16, TF32, fp32
    "H200": (989, 494, 67),
    "H100": (989, 494, 67),
    "A100": (312, 156, 19.5),
    "L40S": (362, 183, 91.6),
    "4090": (165, 82.6, 82.6),
}
FLOPS: dict[str, float] = {}  # of a step for one sample, once counted: {recipe: operations}
MIDDLE = 0.6  # of a training: where a method has all its parts


def tests(setting: Setting) -> Rows:
    """Those marked gpu, which are skipped where there is none."""
    words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib"]

    def run() -> Row:
        done = subprocess.run([sys.executable, *words, "tests/test_gpu.py"], cwd=ROOT, capture_output=True, text=True)
        last = (done.stdout.strip() or done.stderr.strip()).splitlines()[-1]
        return {"passed": done.returncode == 0, "said": last.strip("= ")}

    return {"gpu tests": run}


def steps(setting: Setting) -> Rows:
    """A step of every recipe as it is, and in the plain style of public code."""
    names = telling_first(setting)
    return _rows(setting, names, "eager") | _rows(setting, ["scd"] if setting.tiny else names, "plain style")


def compiled(setting: Setting) -> Rows:
    """A step of every recipe with compiled networks: the first one shows how long compiling takes."""
    return _rows(setting, ["ect"] if setting.tiny else telling_first(setting), "compiled")


def telling_first(setting: Setting) -> list[str]:
    """The recipes, those first without which the others say little."""
    first = [name for name in ("ect", "scd", "teacher", "cd", "facm") if name in setting.recipes]
    return [*first, *(name for name in setting.recipes if name not in first)]


def _rows(setting: Setting, names: list[str], way: str) -> Rows:
    return {f"{name}, {way}": (lambda n=name: step_row(setting, n, way)) for name in names}


def step_row(setting: Setting, name: str, way: str) -> Row:
    """Of the largest batch, halved from the setting's, that fits."""
    batch = setting.batch
    while True:
        try:
            return measured_step(setting, name, way, batch)
        except torch.OutOfMemoryError:
            if batch == 1:
                raise
        batch //= 2
        setting.release()


def measured_step(setting: Setting, name: str, way: str, batch: int) -> Row:
    plain = way == "plain style"
    job = setting.job(name, precision="fp32" if plain else "auto")
    setting.peak_gib()
    with (
        tf32(not plain),
        by_generic_jvp() if plain else nullcontext(),
        trial_of(job, batch, Worker(device=setting.device, compiled=way == "compiled")) as training,
    ):
        training.step = int(MIDDLE * training.settings.steps)
        started = time.perf_counter()
        training.make_step()
        training.report()
        first, timed = time.perf_counter() - started, plain_step(training) if plain else None
        seconds = median(seconds_of(timed, setting.seconds) if timed else step_seconds(training, setting.seconds))
        memory, kind = setting.peak_gib(), precision_of(training, plain)
        if name not in FLOPS:
            FLOPS[name] = flops_of_a_sample(training)
    speed = FLOPS[name] * batch / seconds / 1e12
    return {
        "batch": batch,
        "ms": round(1000 * seconds, 2),
        "images_per_second": round(batch / seconds, 1),
        "tflops": float(f"{speed:.4g}"),
        "share_of_peak": share_of_peak(setting, speed, kind),
        "precision": kind,
        "memory_gib": memory,
        "first_step_seconds": round(first, 2),
    }


def precision_of(training: Training, plain: bool) -> str:
    """Of most of its arithmetic."""
    exact = plain or training.worker.device.type == "cpu"
    return "bf16" if training._uses_bf16() else "fp32" if exact else "tf32"


def seconds_of(step: Callable[[], object], seconds: float) -> list[float]:
    """Of each call of something that waits for the device, but for the first, until they took so many together."""
    times: list[float] = []
    while len(times) < 2 or sum(times[1:]) < seconds:
        started = time.perf_counter()
        step()
        times.append(time.perf_counter() - started)
    return times[1:]


def share_of_peak(setting: Setting, tflops: float, kind: str) -> float | None:
    """Of what the maker says of this precision, for a GPU that is known here."""
    name = torch.cuda.get_device_name() if setting.device.type == "cuda" else ""
    peak = next((peaks for known, peaks in PEAKS.items() if known in name), None)
    return None if peak is None else round(tflops / peak[("bf16", "tf32", "fp32").index(kind)], 3)


def sampling(setting: Setting) -> Rows:
    """Images a second at 1, 2 and 18 evaluations, from noise to stored values, in each precision and compiled."""
    ways = {"fp32": PLAIN, "tf32": Execution("tf32"), "bf16": Execution("bf16")}
    ways |= {} if setting.tiny else {"bf16, compiled": Execution("bf16", compiled=True)}

    def rows(name: str, nfe: int, sampler: str, execution: Execution) -> Row:
        recipe, batch = setting.recipes[name], setting.batch
        function = build_function(recipe.spec(), setting.images.space).to(setting.device).eval()
        model = Model(function, setting.images.space, recipe.spec()).run_by(execution)

        def sample() -> None:
            model.sample(nfe=nfe, seed=0, indices=range(batch), sampler=sampler)

        seconds = median(seconds_of(sample, setting.seconds))
        return {"batch": batch, "images_per_second": round(batch / seconds, 1)}

    asked = {"student, 1 NFE": ("cd", 1, "multistep"), "student, 2 NFE": ("cd", 2, "multistep")}
    asked |= {"teacher, 18 NFE": ("teacher", 18, "euler")}
    return {
        f"{name}, {way}": (lambda of=of, execution=execution: rows(*of, execution))
        for way, execution in ways.items()
        for name, of in asked.items()
    }


def derivatives(setting: Setting) -> Rows:
    """A pass with its derivative against torch.func.jvp, both beside a graph of the pass alone."""
    return {
        f"{way}, {kind}": (lambda w=way, k=kind: derivative_row(setting, w, k))
        for kind in ("fp32", "bf16")
        for way in ("dual layers", "torch.func.jvp", "dual layers, compiled")
        if not (setting.tiny and "compiled" in way)
    }


def derivative_row(setting: Setting, way: str, kind: str) -> Row:
    network, batch = setting.network(), setting.batch
    primals = torch.randn(batch, *setting.shape, device=setting.device), torch.randn(batch, device=setting.device)
    tangents = tuple(torch.randn_like(p) for p in primals)
    if "compiled" in way:
        compile_passes(network)
    cast = way == "torch.func.jvp" and kind == "bf16"  # whose tangents do not pass autocast
    if cast:
        network, primals, tangents = network.bfloat16(), _bf16(primals), _bf16(tangents)

    def forward() -> None:
        with torch.no_grad():
            network(*primals)
        setting.wait()

    def derived() -> None:
        if way == "torch.func.jvp":
            with torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
                torch.func.jvp(network, primals, tangents)
            network(*primals)
        else:
            jvp(network, primals, tangents)
        setting.wait()

    with torch.autocast(setting.device.type, torch.bfloat16, enabled=kind == "bf16" and not cast):
        once, both = (median(seconds_of(work, setting.seconds)) for work in (forward, derived))
    return {"batch": batch, "ms": round(1000 * both, 2), "forward_passes": round(both / once, 2)}


def _bf16(tensors: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return tuple(tensor.bfloat16() for tensor in tensors)


def rounding(setting: Setting) -> Rows:
    """The rounding of gradients over the gradients, against float64."""
    found = Rounding(setting)
    names = ["ect", "scd"] if setting.tiny else telling_first(setting)
    return {name: (lambda n=name: found.row(n)) for name in names}
