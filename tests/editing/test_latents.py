"""Editing by models that see latents: what is known stays to the bit, and what has no meaning there is refused."""

import numpy as np
import pytest
import torch

from fewstep.autoencoders import Autoencoder
from fewstep.data.latent_space import LatentSpace
from fewstep.data.space import DataSpace
from fewstep.editing import TASKS, build_task, fitting_tasks, try_task
from fewstep.editing.edit_order import EditOrder, carry_out, edited_part
from fewstep.editing.given_images import given_values
from fewstep.support.errors import InvalidInput

PIXELS = DataSpace("colours", "images", (3, 8, 8), 0.66)
SPEC = {
    "name": "cd",
    "network": {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1},
    "preconditioning": {"name": "consistency"},
    "labels": False,
    "levels": {"2": [0.3]},
}
IN_LATENTS = [name for name, task in TASKS.items() if not task.linear and name != "interpolate"]


@pytest.fixture
def student(draw_model, patches_folder):
    """A function of the side of a patch: a student of these latents; None: of pixels."""

    def make(patch):
        if patch is None:
            return draw_model(SPEC, PIXELS)
        measured = {"shift": [0.0] * 3 * patch**2, "scale": [PIXELS.scale] * 3 * patch**2}
        return draw_model(SPEC, LatentSpace.of(PIXELS, Autoencoder.open(patches_folder(3, patch)), **measured))

    return make


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)


@pytest.mark.parametrize("name", IN_LATENTS)
def test_patches_of_one_pixel_are_edited_as_pixels_are(student, stored, name):
    trials = [try_task(student(patch), name, build_task(name), stored, 2, 0, degrade=True) for patch in (None, 1)]
    for ours, theirs in zip(*([trial.given, trial.edited] for trial in trials), strict=True):
        assert np.abs(ours.astype(int) - theirs).max() <= 1  # of bytes: what is missing is grey, between two of them
    assert trials[0].measures == pytest.approx(trials[1].measures, rel=0.01, abs=1e-3)


def test_known_pixels_are_pasted_back_to_the_bit(student, stored):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[1:4, 2:5] = True  # cuts patches
    model, task = student(2), build_task("inpaint", {"mask": mask})
    trial = try_task(model, "inpaint", task, stored, 2, 0, degrade=True)
    known = ~mask.numpy()
    assert np.array_equal(trial.edited[..., known], stored[..., known])
    assert not np.array_equal(trial.edited[..., ~known], stored[..., ~known])
    assert np.array_equal(task.at(model.space).mask.nonzero().amin(0), [0, 1]), "of a cut patch all is made again"
    order = EditOrder("inpaint", task, stored, 2, 0, 1)
    whole = carry_out(order, model).edited
    assert np.array_equal(edited_part(order, model, range(2, 4)), whole[2:])


def test_an_autoencoder_sees_nothing_of_what_is_missing(student, stored):
    model, task = student(2), build_task("inpaint")
    other = stored.copy()
    other[..., 2:6, 2:6] = 0
    ours, theirs = (given_values(model.space, task, images)[0] for images in (stored, other))
    assert torch.equal(ours, theirs)


def test_linear_maps_of_pixels_are_left_out_and_refused_in_words(student, stored):
    model = student(2)
    built = fitting_tasks({name: {} for name in TASKS}, model.space)
    assert built.keys() == {*IN_LATENTS, "interpolate"}
    for name in ("colorize", "superresolve"):
        with pytest.raises(
            InvalidInput, match=f"{name} keeps a linear map of pixels, and this model sees latents: use"
        ):
            build_task(name).check(model.space)
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[::2, ::2] = True
    with pytest.raises(InvalidInput, match="mask must leave a patch of 2 x 2 pixels whole, for a model of latents"):
        build_task("inpaint", {"mask": mask}).check(model.space)
