"""Averages that are kept beside the usual one, and others made of them after the training."""

import json
import shutil
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import load_file

from fewstep.cli import main
from fewstep.models.model import SavedModel
from fewstep.support.errors import InvalidInput
from fewstep.training.checkpoint import checkpoints
from fewstep.training.loop import Training, train
from fewstep.training.snapshots import rebuilt_average

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1}
TINY = {"images": 192, "batch_size": 8, "pictures_every": 1000}
KEPT = {"averages": [0.05, 0.1], "snapshots": 6}


@pytest.fixture(scope="module")
def job(digits, small_job):
    """A function of the settings of training: the job of a teacher."""
    return lambda **training: small_job("teacher", digits, "denoising", NETWORK, TINY | training, picture_nfe=(1,))


@pytest.fixture(scope="module")
def run(job, tmp_path_factory):
    """The folder of a training that kept two averages."""
    return train(job(**KEPT), tmp_path_factory.mktemp("run")).parent


@pytest.fixture(scope="module")
def other(job, tmp_path_factory):
    """The folder of the same training, which kept another average, at its end alone, after a kill."""
    folder = tmp_path_factory.mktemp("other")
    (folder / "snapshots" / ".step_000000003.0.partial").mkdir(parents=True)
    return train(job(averages=[0.08], snapshots=1), folder).parent


def last_of(run, std):
    tensors = load_file(checkpoints(run / "snapshots")[-1] / "checkpoint.safetensors")
    prefix = f"average_{std}/"
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def test_what_is_kept_leaves_the_training_alone(job, run, other):
    assert SavedModel.open(run / "model").sha256 == SavedModel.open(other / "model").sha256
    assert len(checkpoints(run / "snapshots")) == 6 and len([*(other / "snapshots").iterdir()]) == 1
    assert "averages" not in job().description["training"] and "power_average" not in job().numerics
    assert job(**KEPT).numerics["power_average"] == 1 and job(**KEPT).run_name != job().run_name


def test_an_average_made_afterwards_is_the_one_that_was_kept(run, other):
    model, facts = rebuilt_average(run, 0.08)
    made, kept, usual = model.function.state_dict(), last_of(other, 0.08), last_of(run, 0.05)
    assert kept.keys() <= made.keys() and facts["snapshots"] == 12 and facts["error"] < 0.05

    def away(weights):
        return sum(float((weights[name] - kept[name]).square().sum()) for name in kept) ** 0.5

    assert away(made) < 0.1 * away(usual)
    assert model.spec.provenance.more["average"]["std"] == 0.08


def test_one_that_was_kept_comes_back(run):
    made, kept = rebuilt_average(run, 0.1)[0].function.state_dict(), last_of(run, 0.1)
    assert all(torch.allclose(made[name], kept[name], rtol=0, atol=1e-6) for name in kept)


def test_a_resumed_training_keeps_the_same_averages(job, tmp_path):
    whole, broken = (Training(job(**KEPT), tmp_path / name) for name in ("whole", "broken"))
    for _ in range(3):
        whole.make_step()
    broken.make_step()
    broken.save()
    resumed = Training(job(**KEPT), tmp_path / "broken")
    for _ in range(2):
        resumed.make_step()
    state, again = whole.state(), resumed.state()
    assert sum(name.startswith("average_0.05/") for name in state) > 5
    assert state.keys() == again.keys() and all(torch.equal(state[key], again[key]) for key in state)


def test_a_stage_begins_its_averages_anew(digits, small_job, run, tmp_path):
    teacher = SavedModel.open(run / "model")
    method = {"name": "progressive_distillation", "start_steps": 2}
    settings = TINY | {"averages": [0.1], "snapshots": 4, "images": 64}
    pd = small_job("pd", digits, method, NETWORK, settings, teacher, start="teacher", picture_nfe=(1,))
    folder = train(pd, tmp_path / "pd").parent
    facts = [json.loads((path / "checkpoint.json").read_text()) for path in checkpoints(folder / "snapshots")]
    assert [(each["began"], each["images"]) for each in facts] == [(0, 16), (0, 32), (32, 16), (32, 32)]
    assert rebuilt_average(folder, 0.1)[1]["snapshots"] == 2


REFUSED = {
    "too short an average": (0.01, {}, "std must be between 0.0[0-9]* and 0.[0-9]*, got 0.01: from 12 snapshots"),
    "of a training that kept none": (0.08, {"averages": []}, "has no snapshots of averages"),
    "of another training": (0.08, {"seed": 1}, r"are not all of this training \(seed differ\)"),
}


@pytest.mark.parametrize("std, change, message", REFUSED.values(), ids=REFUSED)
def test_refused(run, tmp_path, std, change, message):
    copied = shutil.copytree(run, tmp_path / "run")
    if "averages" in change:
        shutil.rmtree(copied / "snapshots")
    if "seed" in change:
        newest = checkpoints(copied / "checkpoints")[-1] / "checkpoint.json"
        facts = json.loads(newest.read_text())
        facts.pop("seal")
        facts["job"]["seed"] = 1
        from fewstep.support.tensor_files import seal

        newest.write_text(json.dumps({**facts, "seal": seal(facts)}))
    with pytest.raises(InvalidInput, match=message):
        rebuilt_average(copied, std)


def test_the_command_writes_models(run, tmp_path):
    copied = shutil.copytree(run, tmp_path / "run")
    result = CliRunner().invoke(main, ["average", str(copied), "--std", "0.07", "--std", "0.1"])
    assert result.exit_code == 0, result.output
    assert [line.split(":")[0] for line in result.output.splitlines()] == [
        str(copied / "averages" / std) for std in ("0.07", "0.1")
    ]
    models = [SavedModel.open(copied / "averages" / std) for std in ("0.07", "0.1")]
    assert models[0].sha256 != models[1].sha256
    sample = models[0].load("cpu").sample(2, 1)
    assert sample.shape == (2, 1, 8, 8)
    for words, message in (
        ([str(copied), "--std", "0.4"], "--std must be above 0 and below 0.2887, got 0.4"),
        ([str(tmp_path / "none"), "--std", "0.1"], "there is no training in"),
        ([str(copied), "--std", "0.1", "--output", str(copied)], "already exists"),
    ):
        refused = CliRunner().invoke(main, ["average", *words])
        assert refused.exit_code == 1 and message in refused.output


def test_replaced_settings_are_checked(job):
    settings = job().recipe.training
    for wrong in ([0.3], [0.1, 0.1], ["x"]):
        with pytest.raises(InvalidInput, match="averages must be"):
            replace(settings, averages=wrong)
