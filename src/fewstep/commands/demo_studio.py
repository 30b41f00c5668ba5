"""What the demo's page does with a model, without the page."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image

from fewstep import load
from fewstep.data.decoding import named, open_picture
from fewstep.editing import build_task, check_teacher, edit_images, interpolate, seed_ends
from fewstep.editing.given_images import edited_images, given_values
from fewstep.editing.tasks import Interpolate, Task
from fewstep.models.model import Model
from fewstep.pictures.sheets import as_picture
from fewstep.registry import load_newer
from fewstep.registry.versions import get_version
from fewstep.support.errors import InvalidInput, UserError
from fewstep.tracking import Backend

log = logging.getLogger(__name__)

MOST_BYTES, MOST_PIXELS = 2**24, 2**24  # of a file that is uploaded, of its picture
PIXELS = {1: "L", 3: "RGB", 4: "RGBA"}  # Pillow's kinds, by channels
SHOWN = 320  # pixels of a picture's side on the page, at least


@dataclass(frozen=True)
class Pair:
    """A student and its teacher, if there is one. number: None for a model that came from a folder."""

    student: Model
    teacher: Model | None
    number: int | None = None


class Studio:
    """A student beside its teacher. place: models:/NAME@ALIAS, which is followed, models:/NAME/NUMBER, or a folder."""

    def __init__(self, place: str, teacher: str | None = None, backend: Backend | None = None):
        self.place, self.backend = place, backend or Backend.at(Path.cwd())
        self.teacher_place = teacher
        self._served: Pair | None = None
        named = place.removeprefix("models:/") if place.startswith("models:/") else ""
        registered, _, self.alias = named.partition("@")
        self.name, _, number = registered.partition("/")
        if self.alias:
            self.reload()
        else:
            self._served = self._beside(load(place, self.backend), int(number) if number.isdigit() else None)
        if self.served.student.space.kind != "images":
            raise InvalidInput(f"the page shows images, and {place} makes {self.served.student.space.kind}.")

    @property
    def served(self) -> Pair:
        """The student and its teacher as they are shown now."""
        assert self._served is not None  # the first look at the registry finds a version, or raises
        return self._served

    def reload(self) -> str:
        """Take the version that holds the alias now; says which is served. ValueError where it cannot be had."""
        now = self._served and self._served.number
        if self.alias and (newer := load_newer(self.backend, self.name, self.alias, now)):
            number, student = newer
            self._served = self._beside(student, number)
        return self.words()

    def words(self) -> str:
        """Which version is served, of which teacher."""
        served, student = self.served, self.served.student
        version = f"{self.name} version {served.number}" if served.number else self.place
        followed = f" @{self.alias}" if self.alias else ""
        beside = f"its teacher `{served.teacher.sha256[:12]}`" if served.teacher else "no teacher beside it"
        return f"**{version}**{followed}: {student.spec.name}, `{student.sha256[:12]}`, {beside}"

    def draw(self, seed: int, nfe: int, label: int | None = None) -> Image.Image:
        """The student's picture of a seed."""
        return shown(self._sample(self.served.student, nfe, seed, label)[0])

    def draw_teacher(self, seed: int, nfe: int, label: int | None = None) -> Image.Image | None:
        """The teacher's, from the same noise. nfe: odd, for Heun."""
        teacher = self.served.teacher
        return teacher and shown(self._sample(teacher, nfe, seed, label)[0])

    def inpaint(
        self, picture: Image.Image, missing: np.ndarray, nfe: int, seed: int, label: int | None = None
    ) -> Image.Image:
        """picture: as drawn here, or of the model's size. missing: [H, W] of any size, above 0 where painted over."""
        mask = Image.fromarray(np.where(missing > 0, 255, 0).astype(np.uint8)).resize(self._size, Image.Resampling.BOX)
        covered = torch.from_numpy(np.asarray(mask) >= 64)  # a quarter of a pixel is enough
        return self._edit(build_task("inpaint", {"mask": covered}), picture, nfe, seed, label)

    def stroke(self, painting: Image.Image, nfe: int, seed: int, label: int | None = None) -> Image.Image:
        """An image after a painting."""
        return self._edit(build_task("stroke"), painting, nfe, seed, label)

    def interpolate(self, seed: int, other: int, frames: int, nfe: int, label: int | None = None) -> Image.Image:
        """A strip of images from one seed's to another's."""
        student, task = self.served.student, Interpolate(frames=frames)
        made = interpolate(student, task, seed_ends(student, (seed, other)), nfe, _told(student, label))
        return shown(np.concatenate(list(student.space.decode(made)), axis=2))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes that can be asked for."""
        student = self.served.student
        return student.space.classes if student.spec.labels else ()

    @property
    def _size(self) -> tuple[int, int]:
        """Width and height, as PIL has them."""
        _, height, width = self.served.student.space.shape
        return width, height

    def _sample(self, model: Model, nfe: int, seed: int, label: int | None) -> np.ndarray:
        return model.sample(1, nfe, seed, _told(model, label))

    def _edit(self, task: Task, picture: Image.Image, nfe: int, seed: int, label: int | None) -> Image.Image:
        student = self.served.student
        small = picture.convert(PIXELS[student.space.shape[0]]).resize(self._size, Image.Resampling.BOX)
        given = np.asarray(small).reshape(1, *small.size[::-1], -1).transpose(0, 3, 1, 2)
        y, _ = given_values(student.space, task, given)
        edited = edit_images(student, task, y, nfe, seed, _told(student, label))
        return shown(edited_images(student.space, task, edited, given)[0])

    def _beside(self, student: Model, number: int | None) -> Pair:
        """The student with the teacher that was named, or that its version names."""
        teacher = None
        if self.teacher_place:
            teacher = load(self.teacher_place, self.backend)
        elif number:
            version = get_version(self.backend.client(), self.name, number)
            if named := version.tags.get("teacher_version"):
                teacher = self._teacher(named)
        if teacher:
            check_teacher(student, teacher)
        return Pair(student, teacher, number)

    def _teacher(self, version: str) -> Model | None:
        """None where it was deleted since: the student is shown alone."""
        try:
            return load(f"models:/{version}", self.backend)
        except UserError as problem:
            log.warning("no teacher beside the student: %s", problem)
            return None


def check_upload(file: Path | BinaryIO) -> None:
    """Raise InvalidInput for what is no picture, or one of too many pixels, before any is read: a small file can hold
    very many.
    """
    with named("the picture"), open_picture(file) as image:
        width, height = image.size
        if width * height > MOST_PIXELS:
            raise InvalidInput(f"it has {width:,} x {height:,} pixels, and at most {MOST_PIXELS:,} are taken")


def _told(model: Model, label: int | None) -> torch.Tensor | None:
    """Labels of one image, [1], for a model that knows any."""
    return None if label is None or not model.spec.labels else torch.tensor([label])


def shown(image: np.ndarray) -> Image.Image:
    """[C, H, W] uint8 -> a picture of visible pixels."""
    picture = as_picture(image)
    factor = max(1, SHOWN // picture.height)
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)
