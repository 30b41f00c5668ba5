"""A compiled training by the real compiler: the plain one to rounding, itself to the bit, also when it is taken up."""

import pickle
import subprocess
import sys

import pytest
import torch

from fewstep.data import ingest
from fewstep.launch import LaunchSettings, launch
from fewstep.models.model import SavedModel
from fewstep.networks.compiled import compiler_works
from fewstep.training.loop import Training, Worker

pytestmark = pytest.mark.check
NETWORK = {"name": "mlp", "channels": 16, "num_blocks": 1, "dropout": 0.1}
NUMBERS = {"images": 64, "batch_size": 16, "optimizer": "radam"}
OBJECTIVE = {"name": "continuous_consistency", "from_data": True, "warmup": 0.5}


PROCESS = """
import pickle, sys
from pathlib import Path

from torch import distributed

from fewstep.networks import compiled
from fewstep.training import loop
from fewstep.training.loop import Training, Worker

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
compiled.BACKEND, loop.compiler_works = "eager", bool  # graphs are made, and run as they are
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
training = Training(pickle.loads((folder / "job").read_bytes()), folder / "run", Worker(rank, 2, compiled=True))
for _ in range(2):
    training.make_step()
    print(training.report()["grad_norm"])
"""


@pytest.fixture(scope="module")
def job(tmp_path_factory, small_job):
    images = ingest({"name": "moons", "count": 64}, tmp_path_factory.mktemp("data") / "moons")
    return small_job("sct", images, OBJECTIVE, NETWORK, NUMBERS)


def finished(training: Training) -> dict[str, torch.Tensor]:
    while training.step < training.settings.steps:
        training.make_step()
    training.report()
    return training.state()


def test_a_compiled_training_repeats_itself_and_agrees_with_the_plain_one(job, tmp_path):
    compiled = Worker(compiled=True)
    plain, whole = (finished(Training(job, tmp_path / str(w.compiled), w)) for w in (Worker(), compiled))
    broken = Training(job, tmp_path / "broken", compiled)
    broken.make_step()
    broken.save()
    taken_up = finished(Training(job, tmp_path / "broken", compiled))
    for name, tensor in whole.items():
        assert torch.equal(tensor, taken_up[name]), name
        assert (tensor - plain[name]).norm() <= 1e-5 * plain[name].norm() + 1e-9, name


def test_a_launch_compiles_where_it_is_told_to_and_its_model_says_so(job, tmp_path):
    for compiles in (True, False):
        folder = launch(job, tmp_path / str(compiles), LaunchSettings(0, threads=1, compile=compiles))
        assert SavedModel.open(folder).spec.provenance.more["compiled"] is compiles


def test_without_a_compiler_a_training_goes_on_and_says_so(job, tmp_path, monkeypatch, caplog):
    """What the machine has compiled before is out of sight, as on a new one."""
    from torch._inductor import config

    torch._dynamo.reset()
    compiler_works.cache_clear()
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config.cpp, "cxx", ("no-such-compiler",))
    folder = launch(job, tmp_path / "run", LaunchSettings(0, threads=1, compile=True))
    assert SavedModel.open(folder).spec.provenance.more["compiled"] is False
    (said,) = [record.message for record in caplog.records if "not compiled" in record.message]
    assert "costs speed and nothing else" in said
    compiler_works.cache_clear()


def test_two_workers_that_compile_train_as_one_that_does_not(job, tmp_path):
    (tmp_path / "job").write_bytes(pickle.dumps(job))
    command = [sys.executable, "-c", PROCESS, str(tmp_path)]
    processes = [subprocess.Popen([*command, str(rank)], stdout=subprocess.PIPE, text=True) for rank in range(2)]
    found = [[float(line) for line in process.communicate(timeout=300)[0].split()] for process in processes]
    training, expected = Training(job, tmp_path / "alone"), []
    for _ in range(2):
        training.make_step()
        expected.append(training.report()["grad_norm"])
    assert found == [pytest.approx(expected, rel=1e-5)] * 2
