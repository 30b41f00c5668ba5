"""Tasks on a student with random weights: what holds whatever it has learnt."""

import zipfile
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.data.space import DataSpace
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.editing import TASKS, build_task, edit_images, image_ends, interpolate, seed_ends, try_pair
from fewstep.editing.edit_order import EditOrder, carry_out, edited_part
from fewstep.editing.image_files import find_mask, read_images
from fewstep.editing.interpolation import KnownNoise
from fewstep.editing.measures import psnr
from fewstep.editing.projection import known_means
from fewstep.evaluation.counting import count_evaluations
from fewstep.models.model import Model
from fewstep.models.spec import ModelSpec
from fewstep.pictures.sheets import as_picture

SPACE = DataSpace("colours", "images", (3, 8, 8), 0.66, ("a", "b"))
SPEC = {
    "name": "cd",
    "network": {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1},
    "preconditioning": {"name": "consistency"},
    "labels": False,
    "levels": {"2": [0.3]},
}


@pytest.fixture
def student(draw_model):
    return lambda space=SPACE, **changes: draw_model({**SPEC, **changes}, space)


@pytest.fixture
def stored():
    return np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), np.uint8)


SINGLE = [name for name in TASKS if name != "interpolate"]


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_each_task_spends_its_nfe_and_knows_no_batch(student, stored, name, nfe):
    model, task = student(), build_task(name)
    y = task.degrade(SPACE.encode(stored), SampleRandomness(5, range(4)))
    with count_evaluations(model.function) as counted:
        edited = edit_images(model, task, y, nfe, seed=1)
    assert counted.samples == nfe * 4
    assert edited.shape == y.shape and torch.isfinite(edited).all()
    torch.testing.assert_close(edit_images(model, task, y[2:], nfe, 1, indices=[2, 3]), edited[2:])
    assert (name == "denoise" and nfe == 1) == torch.equal(edit_images(model, task, y, nfe, seed=2), edited)


def test_known_pixels_are_stored_as_they_were(student, stored):
    task = build_task("inpaint", {"mask": "center"})
    y = SPACE.encode(stored)
    edited = edit_images(student(), task, y, 3, seed=0)
    known = ~find_mask("center", (8, 8))
    assert torch.equal(edited[..., known], y[..., known])
    assert np.array_equal(SPACE.decode(edited)[..., known.numpy()], stored[..., known.numpy()])


def test_means_are_kept_before_clamping(student, stored):
    y = SPACE.encode(stored)
    edited = edit_images(student(), build_task("superresolve", {"factor": 4}), y, 3, seed=0)
    assert edited.abs().max() > 0.66
    assert known_means(y, 4).error(edited) < 1e-5


def test_levels_of_tasks():
    stroke, denoise = build_task("stroke"), build_task("denoise", {"level": 1.5})
    assert stroke.levels(1, 0.002).tolist() == [5.38] and stroke.levels(2, 0.002).tolist() == [5.38, 2.24]
    assert len(stroke.levels(4, 0.002)) == 4
    assert denoise.levels(1, 0.002).tolist() == [1.5]
    assert denoise.levels(3, 0.0)[0] == 1.5 and denoise.levels(3, 0.0)[-1] > 0.002


def test_one_step_of_denoising_is_the_function(student, stored):
    model, y = student(), SPACE.encode(stored)
    edited = edit_images(model, build_task("denoise", {"level": 0.7}), y, 1, seed=0)
    torch.testing.assert_close(edited, model.function(y, torch.full((4,), 0.7)))


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_interpolation_begins_and_ends_with_the_samples_of_its_seeds(student, nfe):
    for model in (student(), student(labels=True)):
        frames = interpolate(model, build_task("interpolate", {"frames": 5}), seed_ends(model, (3, 8), 2), nfe)
        assert frames.shape == (10, 3, 8, 8)
        decoded = SPACE.decode(frames).astype(int)
        assert np.abs(decoded[::5] - model.sample(nfe=nfe, seed=3, indices=range(2))).max() <= 1
        labels = labels_of(3) if model.spec.labels else None  # those of the first seed, all the way
        assert np.abs(decoded[4::5] - model.sample(nfe=nfe, seed=8, indices=range(2), labels=labels)).max() <= 1


def test_an_order_in_parts_is_the_whole(student, stored):
    model = student()
    for name in TASKS:
        given = None if name == "interpolate" else stored
        order = EditOrder(name, build_task(name), given, 2, seed=3, other_seed=8)
        whole = carry_out(order, model).edited.astype(int)
        assert len(whole) == order.count
        parts = [edited_part(order, model, range(first, first + 2)) for first in range(0, order.count, 2)]
        assert np.abs(np.concatenate(parts) - whole).max() <= 1
    labelled, order = student(labels=True), EditOrder("interpolate", build_task("interpolate"), None, 2, 3, 8, label=1)
    assert (
        np.abs(carry_out(order, labelled).edited[2:4].astype(int) - edited_part(order, labelled, range(2, 4))).max()
        <= 1
    )


class Classes(torch.nn.Module):
    """The denoiser of N(mean of its class, .5^2), or its consistency function, which is exact."""

    boundary = 0.002

    def __init__(self, solved: bool):
        super().__init__()
        self.solved = solved
        self.means = torch.nn.Parameter(torch.tensor([-0.3, 0.3]), requires_grad=False)

    def forward(self, x, sigma, labels):
        mean, sigma = (labels @ self.means)[:, None, None, None], sigma[:, None, None, None]
        if self.solved:
            return mean + (x - mean) * ((0.25 + self.boundary**2) / (0.25 + sigma**2)).sqrt()
        return (0.25 * x + sigma**2 * mean) / (0.25 + sigma**2)


@pytest.fixture
def exact():
    """Student and teacher of Classes."""
    spec = replace(ModelSpec.from_json(SPEC), labels=True)
    teacher = Model(Classes(False), SPACE, replace(spec, preconditioning={"name": "edm"}))
    return Model(Classes(True), SPACE, spec), teacher


@pytest.mark.parametrize("nfe", [1, 2, 4])
@pytest.mark.parametrize("labels", [[0, 1], [1, 1], None])
def test_an_interpolation_of_images_begins_and_ends_with_them_in_any_number_of_nfe(exact, stored, labels, nfe):
    task = build_task("interpolate", {"frames": 5})
    trial = try_pair(*exact, task, stored[:2], nfe, 0, labels and torch.tensor(labels))
    assert np.abs(trial.edited[[0, -1]].astype(int) - stored[:2]).max() <= 3
    assert trial.measures["psnr_ends"] == pytest.approx(
        np.minimum(psnr(trial.edited[[0, -1]], stored[:2]), 99).mean(), abs=1e-3
    )


@pytest.mark.parametrize("nfe", [1, 2, 4])
def test_ends_are_the_images_to_the_error_of_the_solver(exact, stored, nfe):
    task, labels, x0 = build_task("interpolate", {"frames": 3}), torch.tensor([0, 1]), SPACE.encode(stored[:2])
    off = []
    for teacher_nfe in (38, 78):
        ends = image_ends(*exact, x0, nfe, labels, teacher_nfe)
        off.append((interpolate(exact[0], task, ends, nfe, labels[:, None])[[0, -1]] - x0).abs().max().item())
    assert off[0] < 0.1 and off[1] < max(off[0] / 3, 1e-6)


def test_a_student_that_errs_is_called_where_the_images_passed(student, stored):
    """So an end is what it makes of a point at its last level, and nearer the lower that is."""
    model, teacher, x0 = student(), student(preconditioning={"name": "edm"}), SPACE.encode(stored[:2])
    level = torch.tensor(0.3)
    for parameter in teacher.function.parameters():  # the denoiser of N(0, .5^2)
        torch.nn.init.zeros_(parameter)
    point = x0 * ((0.25 + level**2) / (0.25 + 0.002**2)).sqrt()
    frames = interpolate(model, build_task("interpolate"), image_ends(model, teacher, x0, 2, teacher_nfe=600), 2)
    torch.testing.assert_close(frames[[0, -1]], model.function(point, level.expand(2)), rtol=1e-3, atol=1e-3)


def test_what_a_model_is_told_goes_evenly_from_the_label_of_one_end_to_that_of_the_other(exact):
    ends = [KnownNoise(torch.zeros(1, 1, 3, 8, 8)) for _ in range(2)]
    task, labels = build_task("interpolate", {"frames": 5}), torch.tensor([[0], [1]])
    middle = interpolate(exact[0], task, ends, 1, labels)[:, 0, 0, 0]
    torch.testing.assert_close(
        middle, torch.linspace(-0.3, 0.3, 5) * (1 - middle.new_tensor(0.5 / 80)), rtol=1e-3, atol=1e-4
    )


def test_labels_go_to_the_models_that_take_any(student, stored):
    task = build_task("interpolate", {"frames": 2})
    for up, down in [(True, False), (False, True)]:
        teacher = student(preconditioning={"name": "edm"}, labels=up)
        trial = try_pair(student(labels=down), teacher, task, stored[:2], 1, 0, torch.tensor([0, 1]))
        assert trial.edited.shape == (2, 3, 8, 8)


def test_a_trajectory_is_edited_by_its_multistep_sampler(student, stored):
    network = {**SPEC["network"], "second_time": True}
    model = student(preconditioning={"name": "trajectory"}, network=network, sampler="gamma")
    assert model.samplers[0] == "gamma"
    edited = edit_images(model, build_task("inpaint"), SPACE.encode(stored), 2, seed=0)
    known = ~find_mask("center", (8, 8))
    assert torch.equal(edited[..., known], SPACE.encode(stored)[..., known])
    frames = interpolate(model, build_task("interpolate", {"frames": 2}), seed_ends(model, (3, 8)), 2)
    for frame, seed in zip(SPACE.decode(frames).astype(int), (3, 8), strict=True):
        assert np.abs(frame - model.sample(nfe=2, seed=seed, indices=[0], sampler="multistep")[0]).max() <= 1


def labels_of(seed):
    """Those that Model.sample draws."""
    rng = SampleRandomness(seed, range(2))
    rng.normal(SPACE.shape)
    return rng.integers(2)


def test_images_are_carried_to_the_noise_that_leads_to_them(student, stored):
    """A network that answers 0 is the denoiser of N(0, .5^2), whose flow scales."""
    teacher = student(preconditioning={"name": "edm"})
    for parameter in teacher.function.parameters():
        torch.nn.init.zeros_(parameter)
    x0 = SPACE.encode(stored)
    for nfe, counted_nfe in ((1, 600), (2, 602)):
        with count_evaluations(teacher.function) as counted:
            ends = image_ends(student(), teacher, x0, nfe, teacher_nfe=600)
        assert counted.samples == counted_nfe * 4
        noise = torch.cat([end.normal(SPACE.shape) for end in ends])
        scale = (0.25 + 80.0**2) ** 0.5 / (0.25 + 0.002**2) ** 0.5 / 80
        torch.testing.assert_close(noise, scale * x0, rtol=0.02, atol=1e-3)


def test_conditional_students_take_labels(student, stored):
    model, task = student(labels=True), build_task("inpaint")
    y = SPACE.encode(stored)
    ones, zeros = (edit_images(model, task, y, 1, 0, torch.full((4,), k)) for k in (1, 0))
    assert not torch.equal(ones, zeros)


GREY = DataSpace("digits", "images", (1, 8, 8), 0.66)
REFUSED = {
    "task": ("inpain", {}, SPACE, "no editing task 'inpain'. Did you mean 'inpaint'"),
    "option": ("superresolve", {"fator": 2}, SPACE, "no option 'fator' of superresolve. Did you mean 'factor'"),
    "type": ("superresolve", {"factor": "two"}, SPACE, "factor must be a whole number, got 'two'"),
    "kind of mask": ("inpaint", {"mask": 3}, SPACE, "mask must be a name or a path, got 3"),
    "whole mask": ("inpaint", {"mask": torch.ones(8, 8).bool()}, SPACE, "the mask must have both white pixels"),
    "factor": ("superresolve", {"factor": 3}, SPACE, r"factor must be a divisor of both 8 and 8 \(2, 4, 8\), got 3"),
    "grey": ("colorize", {}, GREY, "colorization needs images of 3 channels, and digits have 1"),
    "mask": ("inpaint", {"mask": "centre"}, SPACE, "Did you mean 'center'"),
    "points": ("inpaint", {}, DataSpace("moons", "points", (2,), 1.0), "moons are points: only images can be edited"),
    "level": ("denoise", {"level": 0.0}, SPACE, "level must be above 0.002 and at most 80, got 0.0"),
    "strokes": ("stroke", {"first": 1.0}, SPACE, r"first must be above last \(2.24\) and at most 80, got 1.0"),
    "frames": ("interpolate", {"frames": 1}, SPACE, "frames must be at least 2, got 1"),
}


@pytest.mark.parametrize(("name", "options", "space", "words"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_is_refused_in_words(name, options, space, words):
    with pytest.raises(ValueError, match=words):
        build_task(name, options).check(space)


def test_what_is_no_consistency_function_does_not_edit(student, stored):
    teacher = student(preconditioning={"name": "edm"})
    with pytest.raises(ValueError, match="only consistency functions edit images, and .* is sampled with heun"):
        edit_images(teacher, build_task("inpaint"), SPACE.encode(stored), 1, 0)
    with pytest.raises(ValueError, match="no sampler of this teacher 'heun'"):
        image_ends(student(), student(), SPACE.encode(stored), 1)


def test_psnr():
    a = np.zeros((2, 1, 4, 4), np.uint8)
    b = a + np.array([0, 5], np.uint8)[:, None, None, None]
    assert psnr(b, a).tolist() == [np.inf, pytest.approx(20 * np.log10(255 / 5))]


@pytest.mark.parametrize("shape", [(4, 8, 8), (3, 8, 12)])
def test_transparent_and_oblong_images_are_edited_too(student, tmp_path, shape):
    space = DataSpace("leaves", "images", shape, 0.66)
    stored = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    stored[:, 3:][stored[:, 3:] == 0] = 1  # a colour is kept where it can be seen
    for number, image in enumerate(stored):
        as_picture(image).save(tmp_path / f"{number}.png")
    assert np.array_equal(read_images(tmp_path, space)[1], stored)
    for name in SINGLE:
        task = build_task(name)
        if name == "colorize" and shape[0] == 4:
            with pytest.raises(ValueError, match="needs images of 3 channels, and leaves have 4"):
                task.check(space)
            continue
        assert edit_images(student(space), task, space.encode(stored), 2, seed=1).shape == stored.shape


class TestFiles:
    @pytest.fixture
    def folder(self, tmp_path, stored):
        for i, image in enumerate(stored):
            Image.fromarray(image.transpose(1, 2, 0)).save(tmp_path / f"{i}.png")
        return tmp_path

    def test_a_file_and_a_folder(self, folder, stored):
        names, images = read_images(folder, SPACE)
        assert names == ["0.png", "1.png", "2.png", "3.png"] and np.array_equal(images, stored)
        assert np.array_equal(read_images(folder / "2.png", SPACE)[1], stored[2:3])

    def test_folders_archives_and_arrays(self, folder, stored, tmp_path):
        (folder / "more").mkdir()
        (folder / "3.png").rename(folder / "more" / "3.png")
        (folder / "._0.png").write_bytes(b"x")
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for file in folder.rglob("*.png"):
                archive.write(file, file.relative_to(folder))
        np.savez(folder / "a.npz", stored.transpose(0, 2, 3, 1))
        for place in (folder, tmp_path / "a.zip", folder / "a.npz"):
            assert np.array_equal(read_images(place, SPACE)[1], stored)

    def test_what_the_data_were_made_by_is_kept_to(self, folder):
        Image.new("RGBA", (24, 16), (9, 9, 9, 0)).save(folder / "clear.png")
        with pytest.raises(ValueError, match="clear.png must have 8 x 8 pixels, as colours have, got 24 x 16"):
            read_images(folder / "clear.png", SPACE)
        source = {"name": "folder", "resolution": 8, "mode": "rgb", "background": "#ff0000", "resampling": "box"}
        image = read_images(folder / "clear.png", SPACE, source=source)[1][0]
        assert image.shape == (3, 8, 8) and (image[0] == 255).all() and not image[1:].any()

    def test_small_images_are_taken_by_superresolution(self, folder):
        space = DataSpace("large", "images", (3, 16, 16), 0.66)
        assert read_images(folder, space, factor=2)[1].shape == (4, 3, 16, 16)

    def test_grey_pictures_have_no_colours_to_lose(self, folder, stored):
        Image.fromarray(stored[0, 0]).save(folder / "grey.png")
        assert read_images(folder / "grey.png", GREY)[1].shape == (1, 1, 8, 8)
        assert (np.diff(read_images(folder / "grey.png", SPACE)[1], axis=1) == 0).all()

    @pytest.mark.parametrize(
        ("name", "space", "words"),
        [
            ("0.png", GREY, "0.png must be grey, since digits have one channel"),
            ("0.png", DataSpace("large", "images", (3, 8, 9), 1.0), "must have 9 x 8 pixels, as large have, got 8 x 8"),
            ("none.png", SPACE, "There is no folder or file .*none.png"),
            ("broken.png", SPACE, "broken.png cannot be read"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, folder, name, space, words):
        (folder / "broken.png").write_bytes(b"no picture")
        with pytest.raises(ValueError, match=words):
            read_images(folder / name, space)

    def test_masks(self, tmp_path):
        mask = np.zeros((8, 8), np.uint8)
        Image.fromarray(mask).save(tmp_path / "black.png")
        mask[2:4] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")
        assert torch.equal(find_mask(str(tmp_path / "mask.png"), (8, 8)), torch.from_numpy(mask > 0))
        missing = torch.from_numpy(mask > 0)
        assert torch.equal(
            build_task("inpaint", {"mask": missing}).edit(torch.zeros(1, 1, 8, 8)).project.unknown[0, 0], missing
        )
        for given in (str(tmp_path / "mask.png"), missing):
            with pytest.raises(ValueError, match="must have 16 x 16 pixels, as the images have, got 8 x 8"):
                find_mask(given, (16, 16))
        Image.new("1", (8200, 8200)).save(tmp_path / "bomb.png")
        with pytest.raises(ValueError, match="bomb.png cannot be read .it has 8,200 x 8,200 pixels"):
            find_mask(str(tmp_path / "bomb.png"), (8, 8))
        with pytest.raises(ValueError, match="must have both white pixels"):
            find_mask(str(tmp_path / "black.png"), (8, 8))
        Image.fromarray(mask).save(tmp_path / "mask.ppm")
        with pytest.raises(ValueError, match="mask.ppm cannot be read"):
            find_mask(str(tmp_path / "mask.ppm"), (8, 8))
