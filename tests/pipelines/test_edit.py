"""The gallery of a student, at levels that a search has found for it."""

import json

import numpy as np
import pytest

from fewstep.data.space import DataSpace
from fewstep.editing import build_task, try_task
from fewstep.editing.image_files import write_image
from fewstep.models.model import Model, build_function
from fewstep.pipelines.edit.nodes import try_tasks

FOUND = {"4": [20.0, 3.0, 0.5]}


@pytest.fixture
def models(randomised):
    space = DataSpace("digits", "images", (1, 8, 8), 0.66)
    network = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1}
    spec = {"network": network, "labels": False, "levels": {}, "provenance": {"run": "cd-1"}}
    student = {**spec, "name": "cd", "preconditioning": {"name": "consistency"}}
    teacher = {**spec, "name": "teacher", "preconditioning": {"name": "edm"}}
    return [Model(randomised(build_function(s, space), std=0.2).eval(), space, s, "s" * 64) for s in (student, teacher)]


@pytest.mark.parametrize(("of", "levels"), [("s" * 64, FOUND), ("t" * 64, {}), (None, {})])
def test_edits_are_at_the_levels_that_were_found_for_these_weights(of, levels, models, tmp_path):
    picture, file = np.random.default_rng(0).integers(0, 256, (1, 8, 8), np.uint8), tmp_path / "cd-1" / "levels.json"
    write_image(picture, tmp_path / "0.png")
    if of:
        file.parent.mkdir()
        file.write_text(json.dumps({"of": {"model_sha256": of}, "levels": FOUND}))
    editing = {"tasks": {"inpaint": {}}, "source": tmp_path / "0.png", "steps": 4, "seed": 0, "degrade": True}
    (trial,), originals = try_tasks(None, *models, editing, tmp_path)
    models[0].spec["levels"] = levels
    expected = try_task(models[0], "inpaint", build_task("inpaint"), picture[None], 4, 0, True)
    assert np.array_equal(originals[0], picture)
    assert np.array_equal(trial.edited, expected.edited)
    models[0].spec["levels"] = {} if levels else FOUND
    assert not np.array_equal(
        trial.edited, try_task(models[0], "inpaint", build_task("inpaint"), originals, 4, 0, True).edited
    )
