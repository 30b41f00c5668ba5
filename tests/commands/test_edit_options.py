"""Options of `fewstep edit` that a task has no use for, and images where it would write."""

import pytest
from click.testing import CliRunner
from PIL import Image

from fewstep.cli import main
from fewstep.commands.edit import _check_options

IMAGES = ("a.png", "b.png")


@pytest.mark.parametrize(
    ("task", "images", "degrade", "to", "teacher", "words"),
    [
        ("inpaint", IMAGES, False, 0, None, "--to is for interpolate between two seeds"),
        ("interpolate", IMAGES, False, 3, None, "--to is for interpolate between two seeds"),
        ("denoise", IMAGES, False, None, "t", "--teacher is for interpolate between two images"),
        ("interpolate", (), False, None, "t", "--teacher is for interpolate between two images"),
        ("interpolate", (), True, None, None, "--degrade is for tasks that give something back"),
    ],
)
def test_an_idle_option_is_refused(task, images, degrade, to, teacher, words):
    with pytest.raises(ValueError, match=words):
        _check_options(task, images, degrade, to, teacher)


@pytest.mark.parametrize(
    ("task", "images", "degrade", "to", "teacher"),
    [
        ("inpaint", IMAGES, True, None, None),
        ("interpolate", IMAGES, False, None, "t"),
        ("interpolate", (), False, 0, None),
    ],
)
def test_an_option_of_use_is_taken(task, images, degrade, to, teacher):
    _check_options(task, images, degrade, to, teacher)


@pytest.mark.parametrize("name", ["1.png", ""])
@pytest.mark.parametrize(
    ("task", "written"), [("denoise", "denoise"), ("interpolate", "interpolate_images"), ("inpaint", "inpaint")]
)
def test_images_are_refused_where_the_edited_ones_would_be_written_and_there_alone(task, written, name, make, tmp_path):
    model = make("teacher").folder  # which is refused once the images were read
    for folder in ("denoise", "denoise_images", "interpolate", "interpolate_images"):
        (tmp_path / folder).mkdir()
        Image.new("L", (8, 8)).save(tmp_path / folder / "1.png")
        words = ["edit", task, str(tmp_path), "--model", str(model), "--image", str(tmp_path / folder / name)]
        told = CliRunner().invoke(main, words).output
        assert ("OUTPUT must not be the folder of the images" in told) == (folder == written), told
        assert ("sampled with heun" in told) == (folder != written), told
