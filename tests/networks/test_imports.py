"""What a command need not wait for."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize(
    ("spec", "classes"),
    [
        ({"name": "unet"}, 3),
        ({"name": "edm2", "second_time": True}, 3),
        ({"name": "dit", "rope": True, "qk_norm": True}, 3),
    ],
)
def test_a_network_without_weights_is_built_without_the_compiler(spec, classes):
    """Every command checks its parameters by building networks on the meta device, where arithmetic would import the
    compiler, for 2 s.
    """
    code = f"""
import sys, torch
from fewstep.networks import build_network
with torch.device("meta"):
    build_network({spec!r}, (3, 16, 16), {classes})
print("torch._dynamo" in sys.modules)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert told.stdout == "False\n", told
