"""The gallery of a student, at levels that a search has found for it."""

import numpy as np
import pytest

from fewstep.config.parameters import EditingParameters
from fewstep.data.space import DataSpace
from fewstep.editing import build_task, try_task
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.pictures.sheets import as_picture
from fewstep.pipelines.edit.nodes import edit_gallery

FOUND = {4: (20.0, 3.0, 0.5)}


@pytest.fixture
def student(draw_model, tmp_path):
    network = {"name": "unet", "channels": 8, "channel_mult": [1], "num_blocks": 1}
    facts = {"name": "cd", "network": network, "preconditioning": {"name": "consistency"}}
    return draw_model(facts, DataSpace("digits", "images", (1, 8, 8), 0.66)).save(tmp_path / "model")


@pytest.mark.parametrize("found", [True, False])
def test_edits_are_at_the_levels_that_were_found_for_these_weights(found, student, digits, tmp_path):
    picture = np.random.default_rng(0).integers(0, 256, (1, 8, 8), np.uint8)
    as_picture(picture).save(tmp_path / "0.png")
    editing = EditingParameters(tasks={"inpaint": {}}, source=str(tmp_path / "0.png"), nfe=4)
    levels = StudentLevels(student.sha256, FOUND, searched=True) if found else None
    _, (edit,), edited = edit_gallery(digits, student, None, levels, editing)
    at, others = (try_at(student, own, picture) for own in ((FOUND, {}) if found else ({}, FOUND)))
    assert (edit["task"], edit["count"], edit["psnr"]) == ("inpaint", 1, at.measures["psnr"])
    assert edited["inpaint/0000"].tobytes() == as_picture(at.edited[0]).tobytes()
    assert not np.array_equal(at.edited, others.edited)


def try_at(student, levels, picture):
    return try_task(student.at_levels(levels).load(), "inpaint", build_task("inpaint"), picture[None], 4, 0, True)
