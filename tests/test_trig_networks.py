"""Networks of Lu and Song 2024 (conf/trig): the angle as the time, its positional embedding, double normalisation."""

from dataclasses import replace

import pytest
import torch

from fewstep.models.model import SavedModel
from fewstep.networks.embeddings import Positional
from fewstep.networks.layers import NormalisedScaleShift
from fewstep.preconditioning.noise_condition import Angle
from fewstep.training.job import Job
from fewstep.training.loop import Training, train

pytestmark = pytest.mark.slow

TINY = {"images": 32, "batch_size": 8, "checkpoint_every": 1000, "progress_every": 8, "pictures_every": 1000}


@pytest.fixture(scope="module")
def job_of(typed_parameters, digits):
    """A short training of the overlay, of the teacher where none is given."""

    def make(teacher: SavedModel | None = None, recipe: str = "scd", **student) -> Job:
        given = typed_parameters("trig", recipe=recipe, network={"channels": 8}, student=student)
        chosen = given.student if teacher else given.teacher
        return Job.of(replace(chosen, training=replace(chosen.training, **TINY)), digits, teacher)

    return make


@pytest.fixture(scope="module")
def teacher(job_of, tmp_path_factory):
    return SavedModel.open(train(job_of(), tmp_path_factory.mktemp("teacher")))


def test_the_teacher_is_of_such_a_network(teacher):
    function = teacher.load().function
    assert isinstance(function.c_noise, Angle) and isinstance(function.network.embed.time, Positional)
    assert any(isinstance(module, NormalisedScaleShift) for module in function.modules())


@pytest.mark.parametrize("recipe", ["sct", "scd"])
def test_students_begin_as_its_function_and_train(recipe, job_of, teacher, tmp_path):
    job = job_of(teacher, recipe, start="teacher")
    first = Training(job, tmp_path / "first").networks.student.eval()
    x, sigma = 3 * torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([0.01, 0.3, 2, 80])
    with torch.no_grad():
        torch.testing.assert_close(first(x, sigma), teacher.load("cpu").function(x, sigma), rtol=1e-4, atol=1e-4)
    student = SavedModel.open(train(job, tmp_path / "run")).load("cpu")
    assert student.spec.network["c_noise"] == "angle" and student.sample(nfe=2, seed=0, indices=range(2)).shape == (
        2,
        1,
        8,
        8,
    )
    moved = [not torch.equal(a, b) for a, b in zip(first.parameters(), student.function.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("from_data", [False, True])
def test_facm_has_the_expanded_interval_there(from_data, job_of, teacher, tmp_path):
    """The anchor's condition is the mirrored angle, so that the network needs no second time."""
    objective = {"expanded_interval": True, "from_data": from_data}
    job = job_of(teacher, "facm", objective=objective, network={"second_time": False}, start_new=[])
    training, angles = Training(job, tmp_path), []
    assert (training.networks.teacher is None) == from_data
    assert training.networks.student.network.embed.second_hidden is None
    training.networks.student.network.embed.time.register_forward_pre_hook(lambda _, given: angles.append(given[0]))
    before = [p.clone() for p in training.networks.student.parameters()]
    for _ in range(2):
        training.make_step()
    assert sum(not torch.equal(a, b) for a, b in zip(before, training.networks.student.parameters(), strict=True)) > 10
    mirrored, *others = (a.primal if hasattr(a, "primal") else a for a in angles[:2])
    assert (mirrored < 0).all() and all(torch.equal(other, -mirrored) for other in others)
