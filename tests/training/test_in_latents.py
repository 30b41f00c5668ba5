"""Trainings on latents: those of pixels where an autoencoder changes nothing, taken up to the bit; and their models."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from fewstep.autoencoders import Autoencoder
from fewstep.data.encoding import encode_images
from fewstep.evaluation.ladder import Judge, floor
from fewstep.evaluation.reconstruction import autoencoder_floor
from fewstep.exchange.export import Program, export_model
from fewstep.models.model import Model, SavedModel
from fewstep.support.errors import InvalidInput
from fewstep.training.job import Job
from fewstep.training.loop import Training, opened_data, train

NETWORK = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1}
TINY = {"images": 32, "batch_size": 8, "checkpoint_every": 1000, "progress_every": 16, "pictures_every": 32}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def identity(digits, patches_folder, tmp_path_factory):
    """The digits as latents that are their pixels, at the scale of pixels, and mirrored too."""
    measured = {"shift": [0.0], "scale": [digits.space.scale]}
    folder = tmp_path_factory.mktemp("identity") / "latents"
    return encode_images(digits, Autoencoder.open(patches_folder(1)), folder, mirrored=True, measured=measured)


@pytest.fixture(scope="module")
def latents(digits, patches_folder, tmp_path_factory):
    """The digits as patches of 2 x 2 pixels, normalised as every channel asks for."""
    return encode_images(digits, Autoencoder.open(patches_folder(1, 2)), tmp_path_factory.mktemp("two") / "latents")


@pytest.fixture(scope="module")
def teacher(latents, small_job, tmp_path_factory):
    job = small_job("teacher", latents, "denoising", NETWORK, TINY | {"labels": True}, picture_nfe=(3,))
    return SavedModel.open(train(job, tmp_path_factory.mktemp("teacher")))


@pytest.mark.parametrize("method", ["denoising", "mean_flow"])
def test_where_the_autoencoder_changes_nothing_a_step_is_that_of_pixels(digits, identity, small_job, tmp_path, method):
    objective = {"name": method} | ({"from_data": True} if method == "mean_flow" else {})
    network = NETWORK | {"second_time": method == "mean_flow"}
    more = {"picture_nfe": (1,)} if method != "denoising" else {"picture_nfe": (3,)}
    states = []
    for place, store in enumerate((digits, identity)):
        job = small_job("mine", store, objective, network, TINY | {"flips": True, "labels": True}, **more)
        training = Training(job, tmp_path / str(place))
        training.make_step()
        states.append(training.report())
    assert states[0] == pytest.approx(states[1], rel=2e-3)


def test_a_resumed_training_draws_the_same_latents(latents, small_job, tmp_path):
    job = small_job("teacher", latents, "denoising", NETWORK, TINY, picture_nfe=(3,))
    whole, broken = Training(job, tmp_path / "whole"), Training(job, tmp_path / "broken")
    for _ in range(3):
        whole.make_step()
    broken.make_step()
    broken.save()
    again = Training(job, tmp_path / "broken")
    for _ in range(2):
        again.make_step()
    state, other = whole.state(), again.state()
    assert all(torch.equal(state[name], other[name]) for name in state)


def test_a_model_carries_its_autoencoder_and_makes_pixels(latents, teacher, digits, tmp_path):
    assert sorted(p.name for p in (teacher.folder / "autoencoder").iterdir()) == ["config.json"]
    pictures = sorted((teacher.folder.parent / "pictures").iterdir())
    assert [p.name for p in pictures] == ["samples_nfe3_000000032.png"]
    model = teacher.load("cpu")
    samples = model.sample(4, nfe=3, seed=1)
    assert samples.shape == (4, 1, 8, 8) and samples.dtype == np.uint8
    assert model.spec.data_sha256 == digits.sha256 and model.space == latents.space != digits.space
    copy = teacher.save(tmp_path / "copy")
    assert copy.space.autoencoder.folder == tmp_path / "copy" / "autoencoder"
    assert np.array_equal(Model.load(copy.folder, "cpu").sample(4, nfe=3, seed=1), samples)
    assert np.array_equal(np.concatenate([model.sample(nfe=3, seed=1, indices=[i]) for i in range(4)]), samples)
    with pytest.raises(InvalidInput, match="clip must be false: it is for images as pixels"):
        model.sample(4, nfe=3, clip=True)


def test_a_model_with_another_autoencoder_is_refused(teacher, tmp_path):
    copy = teacher.save(tmp_path / "copy")
    config = copy.folder / "autoencoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "more": 1}))
    with pytest.raises(InvalidInput, match="is not the autoencoder whose latents these are: its hash is"):
        SavedModel.open(copy.folder).load("cpu")
    config.unlink()
    with pytest.raises(InvalidInput, match="model.json cannot be used: there is no autoencoder in"):
        SavedModel.open(copy.folder)


def test_what_is_trained_on_latents_has_a_name_of_its_own(digits, identity, latents, small_job):
    jobs = [small_job("ict", store, "improved_consistency_training", NETWORK) for store in (digits, identity, latents)]
    assert len({job.run_name for job in jobs}) == 3 and len({job.data_sha256 for job in jobs}) == 1
    assert "latents_sha256" not in jobs[0].description and "latents" not in jobs[0].numerics
    assert jobs[1].numerics["latents"] == 1
    with pytest.raises(InvalidInput, match="were replaced since the training of ict was asked for"):
        opened_data(replace(jobs[1], data=jobs[2].data), whole=False)


def test_what_does_not_fit_latents_is_refused_before_any_work(digits, latents, teacher, small_job):
    def refused(words, objective="consistency_distillation", training=None, store=latents, **more):
        job = small_job("mine", digits, "improved_consistency_training", NETWORK)
        facts = {**job.recipe.to_json(), "objective": {"name": "consistency_distillation"} | more}
        recipe = type(job.recipe).from_json({**facts, "training": TINY | (training or {})})
        with pytest.raises(InvalidInput, match=words):
            recipe.check_fits(store.space, recipe, 1)
            Job.of(recipe, store, teacher)

    refused("objective.distance must not be lpips on latents: it compares images", distance="lpips")
    refused("training.scores_every must be 0 on latents", training={"scores_every": 16})
    refused("training.augment must be left out on latents", training={"augment": {"xflip": 1.0}})
    refused("training.flips needs the latents of mirrored images, and .* has none: encode", training={"flips": True})
    refused(r"was trained on latents \(hash \w+\), and the student is to be trained on pixels", store=digits)


def test_the_floor_of_an_autoencoder_that_loses_nothing_is_that_of_the_data(digits, teacher):
    from fewstep.evaluation.features import open_extractor

    judge, heldout = Judge.of(digits, open_extractor("digits")), digits.images("heldout")
    ours, theirs = autoencoder_floor(teacher.space, heldout, judge, 20, [0]), floor(heldout, judge, 20, [0])
    assert ours.scores.pop("psnr").values == (99.0,)
    ours.scores.pop("lpips", None)
    assert ours == theirs


@torch.no_grad()
def test_an_exported_program_has_the_decoder_inside(teacher, tmp_path):
    model = teacher.load("cpu")
    program = torch.export.load(export_model(model, tmp_path / "out.pt2", "pt2", 1)).module()
    noise, labels = torch.randn(1, 5, *model.space.model_shape), torch.eye(10)[:5]
    images = program(noise, labels)
    assert images.shape == (5, 1, 8, 8)
    torch.testing.assert_close(images, Program(model, 1).eval()(noise, labels), rtol=1e-4, atol=1e-4)
    with pytest.raises(InvalidInput, match="diffusers cannot hold this model: .*latents"):
        export_model(model, tmp_path / "out", "diffusers")
