"""A Ray cluster that is there already, by RAY_ADDRESS: it trains, to the same bits, and lives on."""

import os
import pickle
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from safetensors.torch import load_file

from fewstep.launch import LaunchSettings, launch
from fewstep.training.checkpoint import load_newest
from fewstep.training.job import Job

pytestmark = pytest.mark.check
NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1}
TINY = {"images": 40, "batch_size": 8, "progress_every": 8, "checkpoint_every": 8}
PROCESS = """
import pickle, sys
from pathlib import Path

import ray

from fewstep.launch import LaunchSettings, launch

launch(pickle.loads(bytes.fromhex(sys.argv[1])), Path(sys.argv[2]), LaunchSettings(1, threads=1, gpu=False))
print(ray.get_runtime_context().gcs_address.split(":")[-1], len(ray.nodes()))
"""


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture(scope="module")
def cluster():
    """What the environment says of a cluster of two CPUs, and its process, of a group that ends with the tests."""
    port = free_port()
    said = {"RAY_ADDRESS": f"127.0.0.1:{port}", "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    words = f"--head --block --node-ip-address=127.0.0.1 --port={port} --num-cpus=2 --num-gpus=0"
    words += " --object-store-memory=100000000 --include-dashboard=false --disable-usage-stats"
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:  # sockets want a short name
        process = subprocess.Popen(
            [Path(sys.executable).parent / "ray", "start", *words.split(), f"--temp-dir={folder}"],
            env={**os.environ, **said, "RAY_ADDRESS": ""},
            start_new_session=True,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            assert any("Ray runtime started" in line for line in process.stdout), "the cluster did not start"
            yield said, process
        finally:
            end_group(process)


def end_group(process: subprocess.Popen):
    """Ray's processes are in the group of the one that started them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        time.sleep(2)
        process.poll()


def launched(job: Job, run_dir: Path, cluster: dict[str, str]) -> str:
    """What a process of its own says that trained by a cluster."""
    command = [sys.executable, "-c", PROCESS, pickle.dumps(job).hex(), str(run_dir)]
    done = subprocess.run(command, env={**os.environ, **cluster}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_a_cluster_that_is_there_makes_the_same_bits_and_lives_on(cluster, digits, small_job, tmp_path):
    said, process = cluster
    job = small_job("teacher", digits, "denoising", NETWORK, TINY)
    expected = load_file(launch(job, tmp_path / "here", LaunchSettings(0, threads=1)) / "model.safetensors")
    for run in ("first", "second"):
        assert launched(job, tmp_path / run, said) == f"{said['RAY_ADDRESS'].split(':')[1]} 1"
        assert process.poll() is None, "the cluster has ended with its driver"
        found = load_file(tmp_path / run / "model" / "model.safetensors")
        assert found.keys() == expected.keys() and all(found[k].equal(expected[k]) for k in expected)
    (ours, _), (theirs, _) = (load_newest(tmp_path / name / "checkpoints") for name in ("here", "first"))
    assert ours.keys() == theirs.keys() and all(ours[k].equal(theirs[k]) for k in ours)
