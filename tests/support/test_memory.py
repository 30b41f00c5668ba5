"""A process that trains, or samples a model of the catalog, keeps the memory that it frees."""

import json
import subprocess
import sys
from dataclasses import asdict

import pytest

from fewstep.support.memory import keep_freed_memory
from fewstep.training.job import Job
from fewstep.training.loop import Training

pytestmark = pytest.mark.slow

FAULTS = """
import json, resource, sys, torch
from pathlib import Path
from fewstep.pipelines.datasets import ModelDataset
from fewstep.training.job import Job
from fewstep.training.loop import Training
given, job, folder = sys.argv[1], json.loads(sys.argv[2]), Path(sys.argv[3])
torch.set_num_threads(1)
if given == "training":
    Training(Job(**job), folder / "run")
elif given == "model":
    ModelDataset(str(folder / "model")).load()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(2**24) for _ in range(4)]  # 64 MiB each, more than glibc ever keeps by itself
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(scope="module")
def faults(digits, tmp_path_factory):
    """A function of what a process makes: pages that it had to fetch in the last of several passes."""
    folder, network = tmp_path_factory.mktemp("memory"), {"name": "unet", "channels": 8}
    job = Job("teacher", str(digits.folder), digits.sha256, network, {"name": "edm"}, {"name": "denoising"}, {})
    Training(job, folder / "first").model().save(folder / "model")

    def count(given: str) -> int:
        command = [sys.executable, "-c", FAULTS, given, json.dumps(asdict(job)), str(folder)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return count


@pytest.mark.skipif(not keep_freed_memory(), reason="glibc alone is told to keep memory")
@pytest.mark.parametrize("given", ["training", "model"])
def test_a_process_keeps_the_memory_that_it_frees(given, faults):
    assert faults(given) < 50 < faults("none")
