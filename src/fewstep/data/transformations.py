"""The transformations of fewstep.data.augmentation: Karras et al. 2020, App. B, with the labels of Karras et al. 2022.

Each is a function of (draws, how often it is made, the image's height and width). It returns what is done to every
image of a batch, and the columns that tell of it, [B, columns], which are 0 where nothing is done. A transformation of
pixels is a function of the images; one of the geometry a matrix [B, 3, 3] from output to input pixels, from the centre;
one of colours a matrix [B, 4, 4] of (red, green, blue, 1).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from fewstep.data.resampling import matrix, rotation, scaling, shift

REACH = 0.125  # of a translation, in widths and heights
SCALE, BRIGHTNESS, CONTRAST = 0.2, 0.2, 0.5  # standard deviations; those of a scale and a contrast in powers of two
GREY = torch.tensor([1.0, 1.0, 1.0, 0.0]) / math.sqrt(3)  # the axis of colours without hue


class Draws(Protocol):
    """Random numbers of the images, [B], on the CPU."""

    def uniform(self) -> Tensor: ...
    def normal(self, shape: Sequence[int]) -> Tensor: ...
    def integers(self, high: int) -> Tensor: ...


Size = tuple[int, int]  # height and width
Transformation = Callable[[Draws, float, Size], tuple[Any, list[Tensor]]]


def _made(draws: Draws, often: float, *parameters: Tensor) -> list[Tensor]:
    """The parameters, all 0 for an image that is left alone."""
    made = draws.uniform() < often
    return [made * parameter for parameter in parameters]


def _angle(draws: Draws) -> Tensor:
    return (2 * draws.uniform() - 1) * math.pi


def _mirrored(images: Tensor, which: Tensor, axis: int) -> Tensor:
    return images.flip(axis).where(which.to(images.device).bool().view(-1, 1, 1, 1), images)


def xflip(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.integers(2))
    return lambda images: _mirrored(images, w, 3), [w]


def yflip(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.integers(2))
    return lambda images: _mirrored(images, w, 2), [w]


def rotate_int(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.integers(4))
    sideways, upside_down = (w == 1) | (w == 2), (w == 2) | (w == 3)

    def turned(images: Tensor) -> Tensor:
        images = _mirrored(_mirrored(images, sideways, 3), upside_down, 2)
        return images.mT.where((w % 2 == 1).to(images.device).view(-1, 1, 1, 1), images)

    return turned, [sideways, upside_down]


def translate_int(draws: Draws, often: float, size: Size):
    (height, width), across, down = size, 2 * draws.uniform() - 1, 2 * draws.uniform() - 1
    across, down = _made(draws, often, across, down)
    x, y = (across * REACH * width).round(), (down * REACH * height).round()

    def moved(images: Tensor) -> Tensor:
        rows, columns = (
            _reflected(torch.arange(length) + steps.long()[:, None], length).to(images.device)
            for length, steps in ((height, y), (width, -x))
        )
        images = images.gather(2, rows[:, None, :, None].expand(images.shape))
        return images.gather(3, columns[:, None, None, :].expand(images.shape))

    return moved, [x / (REACH * width), y / (REACH * height)]


def _reflected(places: Tensor, length: int) -> Tensor:
    """Places beyond the ends of 0 ... length - 1 mirrored there, without repeating the end."""
    return length - 1 - (length - 1 - places.abs()).abs()


def scale(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.normal(()))
    factor = (SCALE * w).exp2()
    return scaling(1 / factor, 1 / factor), [w]


def rotate_frac(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, _angle(draws))
    return rotation(w), [w.cos() - 1, w.sin()]


def aniso(draws: Draws, often: float, size: Size):
    w, r = draws.normal(()), _angle(draws)
    (w,) = _made(draws, often, w)
    (r,) = _made(draws, 0.5, r)  # else along the axes
    factor = (SCALE * w).exp2()
    return rotation(-r) @ scaling(1 / factor, factor) @ rotation(r), [w * r.cos(), w * r.sin()]


def translate_frac(draws: Draws, often: float, size: Size):
    (height, width), across, down = size, draws.normal(()), draws.normal(())
    across, down = _made(draws, often, across, down)
    return shift(-REACH * width * across, -REACH * height * down), [across, down]


def brightness(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.normal(()))
    b = BRIGHTNESS * w
    return matrix([[1, 0, 0, b], [0, 1, 0, b], [0, 0, 1, b], [0, 0, 0, 1]]), [w]


def contrast(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.normal(()))
    c = (CONTRAST * w).exp2()
    return matrix([[c, 0, 0, 0], [0, c, 0, 0], [0, 0, c, 0], [0, 0, 0, 1]]), [w]


def lumaflip(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.integers(2))
    return torch.eye(4) - 2 * w.view(-1, 1, 1) * GREY.outer(GREY), [w]


def hue(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, _angle(draws))
    x, y, z, _ = GREY
    cross = matrix([[0, -z, y, 0], [z, 0, -x, 0], [-y, x, 0, 0], [0, 0, 0, 0]])
    cos, sin = w.cos().view(-1, 1, 1), w.sin().view(-1, 1, 1)
    colours = torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0]))
    rotated = cos * colours + sin * cross + (1 - cos) * GREY.outer(GREY)  # Rodrigues
    return rotated + torch.diag(torch.tensor([0.0, 0.0, 0.0, 1.0])), [w.cos() - 1, w.sin()]


def saturation(draws: Draws, often: float, size: Size):
    (w,) = _made(draws, often, draws.normal(()))
    grey = GREY.outer(GREY)
    return grey + w.exp2().view(-1, 1, 1) * (torch.eye(4) - grey), [w]


# In the order of the draws and of the labels.
PIXELS: dict[str, Transformation] = {
    "xflip": xflip,
    "yflip": yflip,
    "rotate_int": rotate_int,
    "translate_int": translate_int,
}
GEOMETRY: dict[str, Transformation] = {
    "scale": scale,
    "rotate_frac": rotate_frac,
    "aniso": aniso,
    "translate_frac": translate_frac,
}
COLOURS: dict[str, Transformation] = {
    "brightness": brightness,
    "contrast": contrast,
    "lumaflip": lumaflip,
    "hue": hue,
    "saturation": saturation,
}
TWO_COLUMNS = ("rotate_int", "translate_int", "rotate_frac", "aniso", "translate_frac", "hue")
