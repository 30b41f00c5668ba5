"""Images and labels are those of EDM's augmentation, and an image depends on its own draws alone."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from fewstep.data.augmentation import Augmentation
from fewstep.data.resampling import resample, rotation, scaling, shift
from fewstep.data.space import DataSpace
from fewstep.diffusion.randomness import StepRandomness
from fewstep.support.errors import InvalidInput

REFERENCE = Path(__file__).parents[1] / "reference" / "augmentation"
FACTS = json.loads((REFERENCE / "together.json").read_text())
TENSORS = load_file(REFERENCE / "together.safetensors")
CASES = [name for name, facts in FACTS.items() if "draws" in facts]
EVERYTHING = Augmentation(**dict.fromkeys(Augmentation.__dataclass_fields__, 0.5))


class Recorded:
    """The authors' draws in their order: two of a sample, [2, B, ...], are two of ours."""

    def __init__(self, case):
        count = len(TENSORS["images"])
        draws = [TENSORS[f"{case}.draw.{number:02}"] for number in range(len(FACTS[case]["draws"]))]
        self.left = [row for draw in draws for row in draw.reshape(-1, count)]

    def uniform(self):
        return self.left.pop(0)

    def normal(self, shape):
        return self.left.pop(0)

    def integers(self, high):
        return self.left.pop(0)


def augmentation_of(case):
    settings = dict(FACTS[case]["settings"])
    often = settings.pop("p")
    return Augmentation(**{name: min(often * times, 1.0) for name, times in settings.items()})


@pytest.mark.parametrize("padding", ["theirs", "the most"])
@pytest.mark.parametrize("case", CASES)
def test_images_and_labels_are_the_authors(case, padding):
    """Padding further than their batch needs changes nothing within its reach."""
    augmentation, draws = augmentation_of(case), Recorded(case)
    told = tuple(TENSORS[f"{case}.padding"].tolist()) if padding == "theirs" else None
    images, labels = augmentation(TENSORS["images"], draws, told)
    assert draws.left == [] and labels.shape == (4, augmentation.columns) == (4, FACTS[case]["label_width"])
    torch.testing.assert_close(images, TENSORS[f"{case}.output"], rtol=0, atol=1e-5)
    torch.testing.assert_close(labels, TENSORS[f"{case}.labels"], rtol=0, atol=1e-6)


def test_the_settings_of_cifar_10_have_nine_columns():
    often = dict.fromkeys(("yflip", "scale", "rotate_frac", "aniso", "translate_frac"), 0.12)
    assert Augmentation(xflip=1.0, **often).columns == 9 and Augmentation().columns == 0


@pytest.mark.parametrize("rows", [slice(0, 3), slice(3, 8), slice(5, 6)])
def test_an_image_does_not_depend_on_its_neighbours(rows):
    images = torch.randn(8, 3, 9, 9, generator=torch.Generator().manual_seed(1))
    whole = EVERYTHING(images, StepRandomness(0, 3, 8, slice(0, 8)))
    part = EVERYTHING(images[rows], StepRandomness(0, 3, 8, rows))
    for mine, alone in zip(whole, part, strict=True):
        torch.testing.assert_close(mine[rows], alone, rtol=0, atol=1e-5)
    assert not torch.equal(whole[0][rows], images[rows])


def test_what_is_not_moved_is_not_touched():
    images = torch.rand(64, 1, 8, 8)
    seen, told = Augmentation(scale=0.3, translate_frac=0.3)(images, StepRandomness(0, 0, 64, slice(0, 64)))
    left = told.abs().sum(1) == 0
    assert 0.2 < left.float().mean() < 0.8
    assert torch.equal(seen[left], images[left]) and bool((seen != images).flatten(1).any(1)[~left].all())


def test_the_identity_gives_an_image_back():
    """The filters are orthonormal to their even shifts."""
    images = torch.randn(2, 3, 8, 12)
    torch.testing.assert_close(resample(images, torch.eye(3).expand(2, 3, 3)), images, rtol=0, atol=1e-5)


def test_whole_steps_move_pixels():
    image = torch.rand(1, 1, 16, 16)
    moved = resample(image, shift(2.0, -1.0)[None])
    torch.testing.assert_close(moved[..., 1:, :-2], image[..., :-1, 2:], rtol=0, atol=1e-5)


def test_a_smooth_image_is_scaled_and_turned_about_its_centre():
    x = torch.arange(32.0) - 15.5
    image = (x / 20).sin().expand(1, 1, 32, 32)
    larger = resample(image, scaling(torch.tensor([0.5]), torch.tensor([0.5])))
    torch.testing.assert_close(larger, (x / 40).sin().expand(1, 1, 32, 32), rtol=0, atol=2e-3)
    turned = resample(image, rotation(torch.tensor([torch.pi / 2])))  # (x, y) is from (-y, x)
    middle = slice(3, -3)  # a mirrored image has an edge at its border
    expected = (-x / 20).sin()[:, None].expand(1, 1, 32, 32)
    torch.testing.assert_close(turned[..., middle, middle], expected[..., middle, middle], rtol=0, atol=1e-2)


def test_refused_for_data_that_cannot_be_transformed():
    points = DataSpace("moons", "points", (2,), 1.0)
    grey, wide = (DataSpace("some", "images", shape, 1.0) for shape in ((1, 8, 8), (3, 8, 16)))
    for augmentation, space, words in (
        (Augmentation(scale=0.1), points, "training.augment must be left out, since moons are points"),
        (Augmentation(hue=0.1), grey, "training.augment.hue must be 0, since the images of some have 1 channels"),
        (Augmentation(rotate_int=0.1), wide, "rotate_int must be 0, since the images of some are 16 x 8"),
    ):
        with pytest.raises(InvalidInput, match=words):
            augmentation.check_data(space)
    Augmentation().check_data(points)
    Augmentation(scale=1.0).check_data(grey)
