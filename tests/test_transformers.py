"""Recipes over the transformer: students begin as their teacher, train, are taken up again, and sample."""

from dataclasses import replace

import pytest
import torch

from fewstep.data import ingest
from fewstep.models.model import SavedModel
from fewstep.training.job import Job
from fewstep.training.loop import Training, train

pytestmark = pytest.mark.slow

NETWORK = {"name": "dit", "channels": 16, "num_blocks": 2, "num_heads": 2, "patch": 4, "dropout": 0.1}
TINY = {"images": 32, "batch_size": 8, "checkpoint_every": 1000, "progress_every": 8, "pictures_every": 1000}
STUDENTS = ["ect", "scd", "ctm_gan", "facm"]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    return ingest({"name": "patches", "count": 64}, tmp_path_factory.mktemp("data") / "patches")


@pytest.fixture(scope="module")
def job_of(typed_parameters, patches):
    """A short training of the overlay test over the transformer, of the teacher where none is given."""

    def make(teacher: SavedModel | None = None, recipe: str = "ect") -> Job:
        given = typed_parameters("test", recipe=recipe, network=NETWORK)
        chosen = given.student if teacher else given.teacher
        return Job.of(replace(chosen, training=replace(chosen.training, **TINY)), patches, teacher)

    return make


@pytest.fixture(scope="module")
def teacher(job_of, tmp_path_factory):
    return SavedModel.open(train(job_of(), tmp_path_factory.mktemp("teacher")))


@pytest.mark.parametrize("recipe", STUDENTS)
def test_a_student_begins_as_its_teacher(recipe, job_of, teacher, tmp_path):
    student = Training(job_of(teacher, recipe), tmp_path).networks.student.eval().network
    network = teacher.load("cpu").function.network
    x, c_noise = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(0)), torch.linspace(-1, 1, 4)
    labels = torch.eye(2).repeat(2, 1)
    told = {"second": c_noise.flip(0)} if student.settings["second_time"] else {}
    with torch.no_grad():
        expected = network(x, c_noise, labels)
        assert expected.any() and torch.equal(student(x, c_noise, labels, **told), expected)


@pytest.mark.parametrize("recipe", STUDENTS)
def test_a_student_trains_is_taken_up_in_the_same_bits_and_samples(recipe, job_of, teacher, tmp_path):
    whole = Training(job := job_of(teacher, recipe), tmp_path / "whole")
    before = {name: tensor.clone() for name, tensor in whole.networks.student.state_dict().items()}
    for _ in range(2):
        whole.make_step()
    after = whole.networks.student.state_dict()
    kept = {name for name in before if torch.equal(before[name], after[name])}  # some move by less than rounding
    assert "network.positions" in kept and len(kept) < len(before) / 2
    broken = Training(job, tmp_path / "broken")
    broken.make_step()
    broken.save()
    broken = Training(job, tmp_path / "broken")
    broken.make_step()
    assert all(torch.equal(tensor, broken.state()[name]) for name, tensor in whole.state().items())
    model = whole.model().save(tmp_path / "model").load("cpu")
    assert model.sample(2, nfe=2).shape == (2, 3, 16, 16)


def test_the_overlay_has_as_many_weights_as_the_u_net_of_digits(typed_parameters):
    from fewstep.networks import build_network

    with torch.device("meta"):
        sizes = [
            sum(p.numel() for p in build_network(typed_parameters(env).teacher.network, (1, 8, 8)).parameters())
            for env in ("base", "dit")
        ]
    assert sizes == [428_137, 389_924]
