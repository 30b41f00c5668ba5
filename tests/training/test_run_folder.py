"""The folder of a training, and what becomes of it when the numerics have other versions."""

import json
import shutil
from dataclasses import replace

import pytest
import torch

from fewstep.models.model import SavedModel
from fewstep.objectives.denoising import Denoising
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.job import Job
from fewstep.training.loop import Training, train
from fewstep.training.recipe import Recipe
from fewstep.training.run_folder import find_run_folder

NUMBERS = {"images": 32, "batch_size": 16, "checkpoint_every": 16, "progress_every": 16, "pictures_every": 10**6}
BEGUN = r"was begun by code that computes other numbers \(objective from version 1 to 2\).*launch.other_numerics=true"


@pytest.fixture
def job(digits) -> Job:
    network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1}
    recipe = Recipe("teacher", Denoising(), TrainingSettings(**NUMBERS), network, {"name": "edm"}, picture_nfe=())
    return Job(recipe, str(digits.folder), digits.sha256, written_by={"git_commit": "a" * 40})


@pytest.fixture
def begun(job, tmp_path):
    """The folder of a training that was killed after one of its two steps."""
    training = Training(job, find_run_folder(tmp_path, job))
    training.make_step()
    training.save()
    return training.run_dir


@pytest.fixture
def raised(begun, monkeypatch):
    """Meanwhile the method computes other numbers."""
    monkeypatch.setattr(Denoising, "numerics", 2)


def test_the_same_job_finds_its_folder_by_whatever_commit(job, begun, tmp_path):
    later = replace(job, written_by={"git_commit": "b" * 40})
    assert find_run_folder(tmp_path, later) == begun
    facts = json.loads((begun / "checkpoints" / "step_000000001" / "checkpoint.json").read_text())
    assert facts["written_by"]["git_commit"] == "a" * 40 and "fewstep" in facts["written_by"]


def test_an_unfinished_training_of_other_numerics_is_refused(job, raised, tmp_path):
    with pytest.raises(ValueError, match=BEGUN):
        find_run_folder(tmp_path, job)


def test_other_jobs_are_no_concern(job, raised, tmp_path):
    other = replace(job, recipe=replace(job.recipe, seed=1))
    assert find_run_folder(tmp_path, other) == tmp_path / other.run_name


def test_the_loop_refuses_its_checkpoint_too(job, begun, raised):
    with pytest.raises(ValueError, match=BEGUN):
        train(job, begun)


def test_who_insists_goes_on_and_the_model_says_so(job, begun, raised, tmp_path):
    state = Training(replace(job, other_numerics=True), begun).state()
    insisting = replace(job, other_numerics=True)
    folder = find_run_folder(tmp_path, insisting)
    assert folder == tmp_path / job.run_name and not begun.exists()
    training = Training(insisting, folder)
    assert training.step == 1 and all(torch.equal(value, state[name]) for name, value in training.state().items())
    training.save()  # from here on the folder is this job's own, killed or not
    model = SavedModel.open(train(job, find_run_folder(tmp_path, job)))
    made = model.spec.provenance
    assert made.more["numerics"]["objective"] == 2 and made.run == job.run_name
    (before,) = made.more["other_numerics"]
    assert (before["until_step"], before["objective"]) == (1, 1)


def test_a_finished_training_stays_beside_that_of_other_numerics(job, begun, tmp_path, monkeypatch):
    train(job, begun)
    monkeypatch.setattr(Denoising, "numerics", 2)
    for insists in (False, True):
        assert find_run_folder(tmp_path, replace(job, other_numerics=insists)) == tmp_path / job.run_name != begun
    assert "other_numerics" not in SavedModel.open(begun / "model").spec.provenance.more


def test_a_folder_of_ones_own_is_begun_anew_beside_it(job, begun, raised, tmp_path):
    """As fresh=true leaves it."""
    (tmp_path / job.run_name).mkdir()
    assert find_run_folder(tmp_path, job) == tmp_path / job.run_name
    shutil.rmtree(begun)
