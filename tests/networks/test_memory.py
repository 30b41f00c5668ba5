import subprocess
import sys

import pytest

from onestep.networks.memory import keep_freed_memory

FAULTS = """
import resource, sys, torch
from onestep.networks import build_network
torch.set_num_threads(1)
if sys.argv[1] == "network":
    build_network({"name": "mlp"}, (2,))
for _ in range(5):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    pieces = [torch.ones(2**24) for _ in range(4)]  # 64 MiB each, more than glibc ever keeps by itself
    del pieces
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(given: str) -> int:
    """Pages that had to be fetched in the last of several passes."""
    done = subprocess.run([sys.executable, "-c", FAULTS, given], check=True, capture_output=True, text=True)
    return int(done.stdout)


@pytest.mark.skipif(not keep_freed_memory(), reason="glibc alone is told to keep memory")
def test_a_process_with_a_network_keeps_the_memory_that_it_frees():
    assert faults("network") < 50 < faults("none")
