"""The pipeline encode, and what comes after it: by the parts alone, and by `kedro run`."""

import json
from dataclasses import replace

import numpy as np
import pytest

from fewstep.autoencoders import Autoencoder
from fewstep.config.parameters import DataParameters
from fewstep.data.encoding import encode_images
from fewstep.data.latent_store import LatentStore
from fewstep.launch import LaunchSettings
from fewstep.pipelines.datasets import LatentsDataset
from fewstep.pipelines.dvc_stages import Sources
from fewstep.pipelines.encode.nodes import encode_latents
from fewstep.pipelines.journey import journey
from fewstep.pipelines.limits import check_latents
from fewstep.pipelines.workplace import Workplace
from fewstep.support.errors import InvalidInput


@pytest.fixture
def encode(digits, backend, tmp_path, typed_parameters):
    """A function of (the autoencoder's folder, what is there, flips): the node, on digits."""
    place = Workplace(tmp_path / "runs", backend, "base", LaunchSettings(workers=0), fresh=False)
    given = typed_parameters("base")

    def run(autoencoder, encoded=None, flips=False):
        data = DataParameters(source={"name": "digits"}, autoencoder=autoencoder and str(autoencoder))
        student = replace(given.student, training=replace(given.student.training, flips=flips))
        return encode_latents(digits, encoded, data, given.teacher, student, place)

    return run


def test_what_is_encoded_already_is_not_encoded_again(encode, patches_folder, tmp_path, capsys):
    dataset, patches = LatentsDataset(str(tmp_path / "kept" / "latents")), patches_folder(1, 2)
    dataset.save(encode(patches))
    kept = dataset.load()
    assert "latents: 4x4x4 for each image, by the Patches in" in capsys.readouterr().out
    again = encode(patches, kept)
    assert again is kept and "holds those of these images and this autoencoder" in capsys.readouterr().out
    dataset.save(again)
    flipped = encode(patches, kept, flips=True)
    assert flipped.mirrored and "and those of mirrored images" in capsys.readouterr().out
    assert encode(patches, flipped) is flipped, "mirrored ones are not asked for, and do no harm"
    other = encode(patches_folder(1), kept)
    assert other.space.model_shape == (1, 8, 8)
    check_latents(other, str(patches_folder(1)), "kedro run")
    with pytest.raises(
        InvalidInput, match=r"latents of another autoencoder than data.autoencoder, .* \(hash .*: kedro"
    ):
        check_latents(other, str(patches), "kedro run")
    with pytest.raises(InvalidInput, match="encode needs an autoencoder, and data.autoencoder is not set"):
        encode(None)


def test_latents_are_there_where_an_autoencoder_is_asked_for(digits, patches_folder, tmp_path):
    dataset = LatentsDataset(str(tmp_path / "latents"))
    assert not dataset.exists() and not dataset.optional
    encode_images(digits, Autoencoder.open(patches_folder(1)), tmp_path / "latents")
    assert dataset.exists() and isinstance(dataset.load(), LatentStore)
    dataset.wanted = lambda: False
    assert not dataset.exists() and dataset.optional and dataset.load() is None
    before = LatentsDataset(str(tmp_path / "none"), optional=True)
    assert before.optional and before.load() is None


def test_the_journey_encodes_where_an_autoencoder_is_asked_for(typed_parameters):
    student = typed_parameters("test", recipe="cd").student
    assert journey(student, "vae") == ["ingest", "encode", "teacher", "distill", "evaluate", "register"]
    assert journey(student) == ["ingest", "teacher", "distill", "evaluate", "register"]


@pytest.mark.slow
def test_dvc_has_a_stage_that_encodes_where_an_autoencoder_is_asked_for(make_project):
    from kedro.framework.project import pipelines
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    project = make_project.ORIGIN
    bootstrap_project(project)
    with (session := KedroSession.create(project, env="base")):
        context = session.load_context()
    data = context.params["data"].model_copy(update={"autoencoder": "data/01_raw/vae"})
    stages = Sources(project, dict(pipelines), context.catalog, context.params | {"data": data}).journey()
    images, latents = (f"data/02_intermediate/digits/{name}" for name in ("images", "latents"))
    assert list(stages)[:3] == ["ingest", "encode", "teacher"]
    assert (stages["encode"]["deps"], stages["encode"]["outs"]) == ([images, "data/01_raw/vae"], [latents])
    assert all({images, latents} <= set(stages[name]["deps"]) for name in ("teacher", "distill"))
    assert latents not in stages["evaluate"]["deps"]


SHORT = "launch.workers=0,launch.threads=1,student.training.images=64,teacher.training.images=64"


@pytest.mark.check
def test_a_journey_in_latents(project, patches_folder):
    """From the images to a registered version that makes pixels; then edits, a report, and what is refused."""

    two = patches_folder(3, 2)

    def run(*words, autoencoder=two):
        params = f"--params=recipe=cd,{SHORT},data.autoencoder={autoencoder}"
        return project.run("kedro", "run", "--env=test", *words, params)

    code, said = run(autoencoder=patches_folder(1))
    assert code and "takes images of 1 channel, and these have 3" in said and not project.glob("data/*/test")
    code, said = run("--pipelines=ingest,teacher")
    assert code and "needs 'latents', and it is not at data/02_intermediate/test/latents" in said
    assert "kedro run --env=test --pipelines=encode" in said
    code, said = run()
    assert code == 0 and "latents: 12x8x8 for each image" in said and "floor    decoded" in said, said
    place = project.root / "data/08_reporting/test/cd"
    floor = json.loads((place / "scores.json").read_text())["autoencoder"]
    assert floor["scores"]["psnr"]["mean"] == 99
    code, said = run("--pipelines=edit,report")
    assert code == 0 and "colorize, superresolve is left out: it keeps a linear map of pixels" in said, said
    assert {edit["task"] for edit in json.loads((place / "edits.json").read_text())} >= {"inpaint", "stroke", "denoise"}
    other = patches_folder(3, 2)
    (other / "config.json").write_text('{"_class_name": "Patches", "patch_size": 2, "another": true}')
    code, said = run("--pipelines=distill", autoencoder=other)
    assert code and "has the latents of another autoencoder than data.autoencoder" in said
    code, said = project.run("fewstep", "sample", "a.npy", "--n=5", "--model=models:/fewstep-test@champion")
    assert code == 0 and "5 samples in a.npy; decoding took" in said, said
    assert np.load(project.root / "a.npy").shape == (5, 3, 16, 16)
    code, said = project.run("fewstep", "verify", "--env=test")
    assert code == 0 and "data/02_intermediate/test/latents" in said, said
