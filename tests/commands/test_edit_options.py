"""Options of `onestep edit` that a task has no use for."""

import pytest

from onestep.commands.edit import _check_options

IMAGES = ("a.png", "b.png")


@pytest.mark.parametrize(
    ("task", "images", "degrade", "to", "teacher", "words"),
    [
        ("inpaint", IMAGES, False, 0, None, "--to is for: interpolate between two seeds"),
        ("interpolate", IMAGES, False, 3, None, "--to is for: interpolate between two seeds"),
        ("denoise", IMAGES, False, None, "t", "--teacher is for: interpolate between two images"),
        ("interpolate", (), False, None, "t", "--teacher is for: interpolate between two images"),
        ("interpolate", (), True, None, None, "--degrade is for: tasks that give something back"),
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
