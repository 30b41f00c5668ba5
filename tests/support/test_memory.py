"""A process that trains, or samples a model of the catalog, keeps the memory that it frees."""

import pickle
import subprocess
import sys

import pytest

from fewstep.support.memory import keep_freed_memory
from fewstep.training.loop import Training

pytestmark = pytest.mark.slow

FAULTS = """
import pickle, resource, sys, torch
from pathlib import Path
from fewstep.pipelines.datasets import ModelDataset
from fewstep.training.loop import Training
given, folder = sys.argv[1], Path(sys.argv[2])
torch.set_num_threads(1)
if given == "training":
    Training(pickle.loads((folder / "job").read_bytes()), folder / "run")
elif given == "model":
    ModelDataset(str(folder / "model")).load()
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(2**24) for _ in range(4)]  # 64 MiB each, more than glibc ever keeps by itself
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.fixture(scope="module")
def faults(digits, tmp_path_factory, small_job):
    """A function of what a process makes: pages that it had to fetch in the last of several passes."""
    folder, network = tmp_path_factory.mktemp("memory"), {"name": "unet", "channels": 8}
    job = small_job("teacher", digits, "denoising", network)
    (folder / "job").write_bytes(pickle.dumps(job))
    Training(job, folder / "first").model().save(folder / "model")

    def count(given: str) -> int:
        command = [sys.executable, "-c", FAULTS, given, str(folder)]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    return count


@pytest.mark.skipif(not keep_freed_memory(), reason="glibc alone is told to keep memory")
@pytest.mark.parametrize("given", ["training", "model"])
def test_a_process_keeps_the_memory_that_it_frees(given, faults):
    assert faults(given) < 50 < faults("none")
