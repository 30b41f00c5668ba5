"""Recipes over EDM2's network: students begin as their teacher, train, sample, and stop before a weight is spoiled."""

import math
from dataclasses import replace

import pytest
import torch

from fewstep.data import ingest
from fewstep.models.model import SavedModel
from fewstep.networks.magnitude import Forced
from fewstep.support.errors import Divergence
from fewstep.training.job import Job
from fewstep.training.loop import Training, train

pytestmark = pytest.mark.slow

NETWORK = {"name": "edm2", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [8]}
NETWORK |= {"head_channels": 8, "dropout": 0.1}
TINY = {"images": 32, "batch_size": 8, "checkpoint_every": 1000, "progress_every": 8, "pictures_every": 1000}
STUDENTS = ["ect", "scd", "ctm", "facm"]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return ingest({"name": "patches", "count": 64}, tmp_path_factory.mktemp("data") / "patches")


@pytest.fixture(scope="module")
def job_of(typed_parameters, patches):
    """A short training of the overlay test over EDM2's network, of the teacher where none is given."""

    def make(teacher: SavedModel | None = None, recipe: str = "ect") -> Job:
        teaches = {"objective": {"log_variance": True}}
        given = typed_parameters("test", recipe=recipe, network=NETWORK, teacher=teaches)
        chosen = given.student if teacher else given.teacher
        return Job.of(replace(chosen, training=replace(chosen.training, **TINY)), patches, teacher)

    return make


@pytest.fixture(scope="module")
def teacher(job_of, tmp_path_factory):
    return SavedModel.open(train(job_of(), tmp_path_factory.mktemp("teacher")))


def test_the_teacher_has_learned_and_its_log_variance_stays_with_its_training(teacher):
    network = teacher.load("cpu").function.network
    assert network.output.gain != 0 and not any("log_variance" in name for name in network.state_dict())


@pytest.mark.parametrize("recipe", STUDENTS)
def test_a_student_begins_as_its_teacher(recipe, job_of, teacher, tmp_path):
    student = Training(job_of(teacher, recipe), tmp_path).networks.student.eval().network
    network = teacher.load("cpu").function.network
    x, c_noise = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 4)
    labels = torch.eye(network.embed.num_classes)[[0, 1, 0, 1]]
    told = {"second": c_noise.flip(0)} if student.settings["second_time"] else {}
    with torch.no_grad():
        torch.testing.assert_close(student(x, c_noise, labels, **told), network(x, c_noise, labels), rtol=0, atol=1e-6)


@pytest.mark.parametrize("recipe", STUDENTS)
def test_a_student_trains_at_unit_length_and_samples(recipe, job_of, teacher, tmp_path):
    training = Training(job_of(teacher, recipe), tmp_path / "run")
    before = [p.detach().clone() for p in training.networks.student.parameters()]
    for _ in range(2):
        training.make_step()
    moved = [not torch.equal(a, b) for a, b in zip(before, training.networks.student.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2  # of RAdam's first steps, the smallest are lost in rounding
    for layer in (m for m in training.step_module.trained.modules() if isinstance(m, Forced)):
        assert (layer.weight.flatten(1).square().mean(1).sqrt() - 1).abs().max() < 2e-4
    model = training.model().save(tmp_path / "model").load("cpu")
    assert model.sample(2, nfe=2).shape == (2, 3, 16, 16)


@pytest.mark.parametrize("recipe", ["ect", "ctm"])
def test_divergence_changes_no_weight(recipe, job_of, teacher, tmp_path):
    training = Training(job_of(teacher, recipe), tmp_path)
    training.make_step()
    with torch.no_grad():
        next(training.networks.student.parameters()).view(-1)[0] = math.nan
    before = {name: tensor.clone() for name, tensor in training.state().items()}
    with pytest.raises(Divergence):
        training.make_step()
        training.report()
    assert all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in training.state().items())
