"""Trainings with augmented images: networks are told how, and samples and students do without."""

import pytest
import torch

from fewstep.data.augmentation import Augmentation
from fewstep.models.model import SavedModel
from fewstep.objectives import objective_class, objective_names
from fewstep.training.job import Job
from fewstep.training.loop import Training, train

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1, "dropout": 0.2}
OFTEN = {"xflip": 1.0, "scale": 0.5, "translate_frac": 0.5}
TINY = {"images": 32, "batch_size": 8, "labels": True}
AUGMENTED = TINY | {"augment": OFTEN}
WITH = [name for name in objective_names() if objective_class(name).takes_augmentation]


@pytest.fixture(scope="module")
def augmented(digits, small_job):
    """A function of the method and its settings of training: its job, whose network is told of four columns."""

    def make(objective="denoising", **training) -> Job:
        return small_job("teacher", digits, objective, NETWORK | {"augment_dim": 4}, AUGMENTED | training)

    return make


@pytest.fixture(scope="module")
def teacher(augmented, tmp_path_factory):
    return SavedModel.open(train(augmented(), tmp_path_factory.mktemp("teacher")))


@pytest.mark.parametrize("objective", WITH)
def test_the_network_learns_from_what_it_is_told(augmented, randomised, tmp_path, objective):
    training = Training(augmented(objective), tmp_path)
    randomised(training.networks.student, std=0.2)  # some layers start at 0, and would hide this one
    before = training.networks.student.network.embed.augment.weight.clone()
    training.make_step()
    changed = (training.networks.student.network.embed.augment.weight != before).any(0)
    assert changed.tolist() == [True] * 4


@pytest.mark.parametrize("objective", WITH)
def test_both_sides_of_a_loss_are_told(augmented, tmp_path, objective):
    training, told = Training(augmented(objective), tmp_path), []
    network = training.networks.student.network
    network.embed.register_forward_pre_hook(lambda module, given: told.append(given[3]))
    training.make_step()
    assert told and all(torch.equal(labels, told[0]) for labels in told) and told[0].abs().sum() > 0


def test_a_resumed_run_ends_in_the_same_bits(augmented, tmp_path):
    whole, broken = (Training(augmented(micro_batch_size=4), tmp_path / name) for name in ("whole", "broken"))
    for _ in range(3):
        whole.make_step()
    broken.make_step()
    broken.save()
    resumed = Training(augmented(micro_batch_size=4), tmp_path / "broken")
    for _ in range(2):
        resumed.make_step()
    state, again = whole.state(), resumed.state()
    assert state.keys() == again.keys() and all(torch.equal(state[key], again[key]) for key in state)


def test_a_student_without_the_labels_starts_as_the_same_function(digits, teacher, small_job, tmp_path):
    job = small_job("cd", digits, "consistency_distillation", NETWORK, TINY, teacher, start="teacher")
    student, taught = Training(job, tmp_path).networks.student.network.eval(), teacher.load("cpu").function.network
    x, c_noise, labels = torch.randn(4, 1, 8, 8), torch.randn(4), torch.eye(10)[:4]
    assert "embed.augment.weight" in taught.state_dict() and "embed.augment.weight" not in student.state_dict()
    assert torch.equal(student(x, c_noise, labels), taught(x, c_noise, labels))
    assert torch.equal(taught(x, c_noise, labels), taught(x, c_noise, labels, augment=torch.zeros(4, 4)))


def test_augmentation_names_a_training_with_its_version(augmented, digits, small_job):
    job, plain = augmented(), small_job("teacher", digits, "denoising", NETWORK, TINY)
    assert job.recipe.training.augment == Augmentation(**OFTEN)
    assert "augmentation" in job.numerics and "augmentation" not in plain.numerics
    assert "augment" not in plain.description["training"]
    assert job.recipe == type(job.recipe).from_json(job.recipe.to_json())
