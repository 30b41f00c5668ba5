"""What the demo's page shows, without the page."""

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.commands.demo_studio import Studio, shown
from fewstep.editing import build_task, edit_images
from fewstep.registry import force, register, register_teacher

pytestmark = pytest.mark.slow

CHAMPION = "models:/fewstep-digits@champion"


@pytest.fixture
def studio(make):
    return Studio(str(make("cd", labels=True).folder), str(make("teacher").folder))


def small(picture):
    """A picture of the page at the model's size."""
    return np.asarray(picture.resize((8, 8), Image.NEAREST)).astype(int)


def test_pictures_are_those_of_the_models(studio):
    student, teacher = studio.served.student, studio.served.teacher
    assert studio.draw(5, 2, 3).size == (320, 320)
    assert (
        small(studio.draw(5, 2, 3)) == student.sample(nfe=2, seed=5, indices=range(1), labels=torch.tensor([3]))[0, 0]
    ).all()
    assert (
        small(studio.draw_teacher(5, 9, 3)) == teacher.sample(nfe=9, seed=5, indices=range(1))[0, 0]
    ).all()  # knows no labels
    assert studio.labels == tuple("0123456789")
    assert "teacher `" in studio.words()
    strip = studio.interpolate(1, 2, 4, 1, 3)
    assert strip.size == (4 * 320, 320)
    ends = [small(strip.crop((320 * n, 0, 320 * (n + 1), 320))) for n in (0, 3)]
    assert abs(ends[0] - small(studio.draw(1, 1, 3))).max() <= 1
    assert abs(ends[1] - small(studio.draw(2, 1, 3))).max() <= 1


def test_inpainting_keeps_what_was_not_painted_over(studio):
    picture, painted = studio.draw(5, 1, 3), np.zeros((320, 320), np.uint8)
    painted[80:200, 80:160] = 200
    edited = small(studio.inpaint(picture, painted, 2, 9))
    missing = np.zeros((8, 8), bool)
    missing[2:5, 2:4] = True
    assert (edited == small(picture))[~missing].all()
    assert (edited != small(picture))[missing].any()
    with pytest.raises(ValueError, match="must have both white pixels"):
        studio.inpaint(picture, np.zeros((320, 320)), 2, 9)


def test_a_painting_becomes_an_image(studio):
    white, black = (Image.new("RGBA", (500, 500), tone) for tone in ("white", "black"))
    assert small(studio.stroke(white, 2, 1)).mean() != small(studio.stroke(black, 2, 1)).mean()
    assert studio.stroke(white, 2, 1).size == (320, 320)


def test_edits_are_of_the_label(studio):
    student, task = studio.served.student, build_task("stroke")
    grey = Image.new("L", (8, 8), 128)
    y = student.space.encode(np.full((1, 1, 8, 8), 128, np.uint8))
    for label in (3, 4):
        expected = student.space.decode(edit_images(student, task, y, 2, 1, torch.tensor([label])))
        assert (small(studio.stroke(grey, 2, 1, label)) == expected[0, 0]).all()
    painted = np.zeros((8, 8), np.uint8)
    painted[2:5, 2:4] = 1
    three, four = (small(studio.inpaint(grey, painted, 2, 1, label)) for label in (3, 4))
    assert ((three != four) <= (painted > 0)).all() and (three != four).any()


def test_a_label_is_nothing_to_a_student_without(make):
    studio, grey = Studio(str(make("cd").folder)), Image.new("L", (8, 8), 128)
    assert (small(studio.stroke(grey, 1, 1, 3)) == small(studio.stroke(grey, 1, 1))).all()
    assert (small(studio.interpolate(1, 2, 2, 1, 3)) == small(studio.interpolate(1, 2, 2, 1))).all()


def test_colours_and_wide_pictures_are_shown():
    assert shown(np.zeros((3, 64, 128), np.uint8)).size == (640, 320)
    assert shown(np.zeros((3, 512, 512), np.uint8)).size == (512, 512)


def test_the_page_follows_the_alias_and_shows_the_versions_teacher(make, backend, scores):
    teacher = make("teacher")
    taught_by = register_teacher(teacher, scores(9.0), backend)
    register(make("cd"), scores(9.0), backend, teacher=taught_by)
    studio = Studio(CHAMPION, backend=backend)
    assert "fewstep-digits version 1** @champion" in studio.words()
    assert studio.served.teacher.sha256 == teacher.sha256
    other = make("cd", 1)
    register(other, scores(8.0), backend)
    pinned = Studio("models:/fewstep-digits/1", backend=backend)
    force(backend, "fewstep-digits", 2, "better")
    assert "fewstep-digits version 2" in studio.reload()
    assert studio.served.student.sha256 == other.sha256
    assert studio.served.teacher is None and studio.draw_teacher(1, 9) is None
    assert "fewstep-digits version 1" in pinned.reload()
    with pytest.raises(ValueError, match="has no best in the registry"):
        Studio("models:/fewstep-digits@best", backend=backend)
