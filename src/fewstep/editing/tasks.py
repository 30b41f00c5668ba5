"""Editing tasks that need no training. A task is a start and a projection, and its fields are its options."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, get_args

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fewstep.data.space import DataSpace
from fewstep.diffusion.functions import Randomness
from fewstep.diffusion.levels import SIGMA_MAX, SIGMA_MIN, karras_levels, per_sample
from fewstep.editing.image_files import find_mask
from fewstep.editing.multistep_edit import Edit
from fewstep.editing.projection import Projection, check_factor, grey, known_grey, known_means, known_pixels
from fewstep.support.checks import above, at_least, between, check_fields, up_to, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

TONE = 0.5  # of a painting, in model values: a standard deviation of the data


@dataclass(frozen=True)
class Task:
    """Base of the tasks: from images [B, C, H, W], model values, to an Edit.

    linear: it keeps a linear map of pixels. degrades_values: what it removes is of model values, whatever these are;
    of others it is of pixels.
    """

    factor: ClassVar[int] = 1  # by which given images may be smaller
    linear: ClassVar[bool] = False
    degrades_values: ClassVar[bool] = False

    def check(self, space: DataSpace) -> None:
        """Raise ValueError if data of this kind cannot be edited like this."""
        if space.kind != "images":
            raise InvalidInput(f"{space.name} are {space.kind}: only images can be edited.")
        if self.linear and space.encoding != "pixels":
            raise InvalidInput(
                f"{type(self).__name__.lower()} keeps a linear map of pixels, and this model sees latents: use inpaint "
                "or stroke, or a model that was trained on pixels."
            )

    def at(self, space: DataSpace) -> "Task":
        """The same task for model values of this space."""
        return self

    def pasted(self, made: np.ndarray, images: np.ndarray) -> np.ndarray:
        """What was made, with what the task knows of the images, both uint8 [N, C, H, W]."""
        return made

    def degrade(self, x0: Tensor, rng: Randomness) -> Tensor:
        """What the task would be given of a complete image, to measure how well the task restores it."""
        return x0

    def shown(self, y: Tensor) -> Tensor:
        """The given image, without the parts that the task does not use."""
        return y

    def edit(self, y: Tensor) -> Edit:
        """The edit for given images."""
        raise NotImplementedError

    def levels(self, nfe: int, boundary: float) -> Tensor | None:
        """The task's own levels, [nfe]; None: those at which the student is sampled."""
        return None


@dataclass(frozen=True)
class Inpaint(Task):
    """Fill in missing pixels. mask: bool [H, W], True there; a name in MASKS; or a file that is white there."""

    mask: Tensor | str = "center"

    def check(self, space: DataSpace) -> None:
        super().check(space)
        find_mask(self.mask, space.shape[1:])
        self.at(space)

    def at(self, space: DataSpace) -> "Inpaint":
        """A latent is missing where a pixel of its patch is."""
        size = space.model_shape[1:]
        if size == space.shape[1:]:
            return self
        missing = F.adaptive_max_pool2d(find_mask(self.mask, space.shape[1:]).float()[None, None], size)[0, 0] > 0
        if missing.all():
            patch = space.shape[1] // size[0]
            raise InvalidInput(f"mask must leave a patch of {patch} x {patch} pixels whole, for a model of latents.")
        return Inpaint(missing)

    def pasted(self, made: np.ndarray, images: np.ndarray) -> np.ndarray:
        return np.where(find_mask(self.mask, images.shape[2:]).numpy(), made, images)

    def shown(self, y: Tensor) -> Tensor:
        return self.edit(y).start

    def edit(self, y: Tensor) -> Edit:
        return _projected(known_pixels(y, find_mask(self.mask, y.shape[2:])))


@dataclass(frozen=True)
class Colorize(Task):
    """Give colours to a grey image, and keep its brightness."""

    linear = True

    def check(self, space: DataSpace) -> None:
        super().check(space)
        if space.shape[0] != 3:
            raise InvalidInput(f"colorization needs images of 3 channels, and {space.name} have {space.shape[0]}.")

    def degrade(self, x0: Tensor, rng: Randomness) -> Tensor:
        return grey(x0)

    def shown(self, y: Tensor) -> Tensor:
        return grey(y)

    def edit(self, y: Tensor) -> Edit:
        return _projected(known_grey(y))


@dataclass(frozen=True)
class Superresolve(Task):
    """Add detail to an image of which only means of patches are known. factor: the side of a patch, in pixels."""

    linear = True
    factor: int = 2  # pyright: ignore[reportIncompatibleVariableOverride] (an option of this task alone)

    def check(self, space: DataSpace) -> None:
        super().check(space)
        check_factor(self.factor, space.shape[1:])

    def shown(self, y: Tensor) -> Tensor:
        return self.edit(y).start

    def edit(self, y: Tensor) -> Edit:
        return _projected(known_means(y, self.factor))


@dataclass(frozen=True)
class Stroke(Task):
    """Turn a painting into an image. It is the start, and there is no projection. Song et al. 2023, App. D; SDEdit.

    first, last: the highest and the lowest level.
    """

    first: float = 5.38
    last: float = 2.24

    def __post_init__(self):
        check_fields(self, last=above(SIGMA_MIN), first=between("last", SIGMA_MAX, open_low=True))

    def degrade(self, x0: Tensor, rng: Randomness) -> Tensor:
        """A painting: at most 8 x 8 flat patches, of few tones."""
        height, width = x0.shape[2:]
        patches = F.adaptive_avg_pool2d(x0, (max(1, min(8, height // 2)), max(1, min(8, width // 2))))
        return F.interpolate((patches / TONE).round() * TONE, size=(height, width))

    def edit(self, y: Tensor) -> Edit:
        return Edit(y)

    def levels(self, nfe: int, boundary: float) -> Tensor:
        return karras_levels(nfe, self.last, self.first)


@dataclass(frozen=True)
class Denoise(Task):
    """Remove noise of a known level, in units of model values."""

    degrades_values = True
    level: float = 0.5

    def __post_init__(self):
        check_fields(self, level=between(SIGMA_MIN, SIGMA_MAX, open_low=True))

    def degrade(self, x0: Tensor, rng: Randomness) -> Tensor:
        return x0 + per_sample(x0.new_full((len(x0),), self.level), x0) * rng.normal(x0.shape[1:]).to(x0)

    def edit(self, y: Tensor) -> Edit:
        return Edit(y, noise=torch.zeros_like(y))

    def levels(self, nfe: int, boundary: float) -> Tensor:
        return karras_levels(nfe + 1, max(boundary, SIGMA_MIN), self.level)[:-1]


@dataclass(frozen=True)
class Interpolate(Task):
    """Frames between two noises, for fewstep.editing.interpolate: of two seeds, or those that two images lead to."""

    frames: int = 8

    def __post_init__(self):
        check_fields(self, frames=up_to(10_000, whole(at_least(2))))


TASKS: dict[str, type[Task]] = {
    "inpaint": Inpaint,
    "colorize": Colorize,
    "superresolve": Superresolve,
    "stroke": Stroke,
    "denoise": Denoise,
    "interpolate": Interpolate,
}


TYPES = {int: "a whole number", float: "a number", str: "a name or a path", Tensor: "a name or a path"}


def build_task(name: str, options: Mapping[str, Any] | None = None) -> Task:
    """The task of this name. Raises ValueError for an unknown name or option, or a value out of range."""
    kind = TASKS[check_name("editing task", name, TASKS)]
    known: dict[str, Any] = {field.name: field.type for field in fields(kind)}
    for option, value in (options or {}).items():
        check_name("option", option, known, name)
        kinds = (int, float) if known[option] is float else get_args(known[option]) or (known[option],)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise InvalidInput.of(option, value, TYPES[kinds[-1]])
    return kind(**(options or {}))


def _projected(known: Projection) -> Edit:
    return Edit(known.start(), known)
