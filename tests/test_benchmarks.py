"""A benchmark tells what is beyond its bounds and ends with status 1."""

import sys
from importlib import import_module
from pathlib import Path

import pytest

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


@pytest.mark.slow
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
