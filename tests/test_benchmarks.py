"""A benchmark tells what is beyond its bounds and ends with status 1."""

import json
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path

import pytest

ABSENT = ("kedro", "omegaconf", "ray", "mlflow", "pydantic", "rich", "click", "lpips", "torch_fidelity")
WITHOUT = f"""
import runpy, sys
sys.modules.update(dict.fromkeys({ABSENT}))
sys.path.insert(0, sys.argv[1])
sys.argv[:2] = ["gpu.py"]
runpy.run_module("gpu", run_name="__main__")
"""
BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch):
    """A function that imports one by its name."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    return import_module


def test_what_is_beyond_its_bound_is_told(benchmark):
    bounds = benchmark("bounds").Bounds()
    bounds.at_most("seconds", 2.0, 2)
    bounds.at_least("speed", 1.5, 1.5)
    bounds.settle()
    bounds.at_most("seconds", 2.1, 2)
    bounds.at_least("speed", float("nan"), 1.5)
    with pytest.raises(SystemExit) as end:
        bounds.settle()
    assert end.value.code.splitlines()[1:] == [
        "seconds: 2.1, which is to be at most 2",
        "speed: nan, which is to be at least 1.5",
    ]


LITTLE = """
network: {channels: 8, num_blocks: 1}
teacher: {training: {images: 64}}
recipes: {every: {training: {images: 64}}}
evaluation: {count: 16, teacher_nfe: {euler: [1]}}
launch: {workers: 0}
"""


@pytest.mark.check
def test_sampling_is_held_to_its_bounds(benchmark, project, monkeypatch, capsys):
    (project.root / "conf/local/parameters.yml").write_text(LITTLE)
    code, output = project.run("kedro", "run", "--pipelines=ingest,teacher,distill")
    assert code == 0, output
    monkeypatch.chdir(project.root)
    monkeypatch.setattr(sys, "argv", ["sampling.py", "--count=100", "--rounds=1", "--threads=1"])
    sampling = benchmark("sampling")
    for name, most in {"FORWARDS": 0, "SECONDS": 0, "GROWTH": 0, "BEYOND": -1, "PROVISIONAL": 0}.items():
        monkeypatch.setattr(sampling, name, most)
    with pytest.raises(SystemExit) as end:
        sampling.main()
    assert capsys.readouterr().out.count("\n") == 5
    told = [line.partition(":")[0] for line in end.value.code.splitlines()[1:]]
    assert told == [
        "bare forward passes an image",
        "seconds of 100 images",
        "megabytes of 100 images",
        "evaluation beyond generation and features",
        "seconds of the main job's evaluation",
    ]


@pytest.mark.check
def test_the_benchmark_for_a_gpu_works_on_a_cpu_without_the_frameworks(benchmark, tmp_path):
    """On the machine that has a GPU nothing else is installed; every recipe of conf is found there."""
    words = [
        sys.executable,
        "-c",
        WITHOUT,
        str(BENCHMARKS),
        "--tiny",
        "--seconds=900",
        f"--out={tmp_path / 'gpu.json'}",
    ]
    done = subprocess.run(words, capture_output=True, text=True, timeout=1200)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "gpu.json").read_text())
    rows = {(row["part"], row["title"]): row for row in found["rows"]}
    assert not found["left_out"] and not [row for row in rows.values() if "error" in row]
    recipes = sorted(p.stem for p in (BENCHMARKS.parent / "conf/base/parameters/recipes").glob("*.yml"))
    assert all(rows["steps", f"{name}, eager"]["images_per_second"] > 0 for name in ["teacher", *recipes])
    assert {part for part, _ in rows} == set(benchmark("gpu").SHARES)
    assert rows["compiled", "ect, compiled"]["tflops"] > 0
    assert rows["derivatives", "dual layers, fp32"]["forward_passes"] > 1
    assert rows["tests", "gpu tests"]["passed"]
    bf16, fp32 = (rows["rounding", "ect"][f"{kind}_last"] for kind in ("bf16", "fp32"))
    assert 10 * fp32 < bf16
    assert [row["passes"] for (part, title), row in rows.items() if title.startswith("ect,") and part == "training"]


@pytest.mark.slow
def test_what_does_not_fit_the_time_is_left_out_and_said(benchmark, monkeypatch, tmp_path):
    gpu = benchmark("gpu")
    report = gpu.Report(tmp_path / "gpu.json", {})

    def endless():
        while True:
            time.sleep(0.01)

    now = time.perf_counter()
    gpu.measure(report, "steps", {"quick": lambda: {"ms": 1}, "broken": lambda: 1 // 0}, now + 600)
    gpu.measure(report, "steps", {"endless": endless, "late": lambda: {"ms": 2}}, time.perf_counter() + 0.2)
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert found["left_out"] == ["steps: endless", "steps: late"]
    quick, broken = found["rows"]
    assert quick == {"part": "steps", "title": "quick", "ms": 1} and "ZeroDivisionError" in broken["error"]
