"""What data are, and how stored values become the numbers that a model sees."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.support.checks import between, check_fields, each, file_name, one_of, whole
from fewstep.support.errors import InvalidInput

SCALES = (1e-9, 1e9)  # beyond which float32 has no room for the noise levels beside the data
LARGEST = 2**16  # pixels of a side, or numbers of a point
MOST_CLASSES = 2**16
Noise = Callable[[Sequence[int]], Tensor]  # the shape of a sample -> Gaussian numbers of a batch


@dataclass(frozen=True)
class DataSpace:
    """The kind, shape and scale of a data set: stored with it and with every model trained on it.

    kind: "images" (stored as uint8, [C, H, W]) or "points" (stored as float32, [D]).
    scale: model values are stored values (images brought to [-1, 1] first) times it, so that their standard deviation
        is sigma_data.
    classes: names of the labels, empty where data have none.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    scale: float
    classes: tuple[str, ...] = ()

    encoding: ClassVar[str] = "pixels"  # what model values are, where a hash says it of latents

    def __post_init__(self):
        object.__setattr__(self, "shape", tuple(self.shape))
        object.__setattr__(self, "classes", tuple(self.classes))
        check_fields(self, name=file_name, kind=one_of("images", "points"), scale=between(*SCALES))
        check_fields(self, shape=each(whole(between(1, LARGEST))))
        if len(self.shape) != (dimensions := 3 if self.kind == "images" else 1):
            raise InvalidInput.of("shape", self.shape, f"of {dimensions} sizes for {self.kind}")
        if len(self.classes) > MOST_CLASSES:
            raise InvalidInput.of("the number of classes", len(self.classes), f"at most {MOST_CLASSES}")

    def encode(self, stored: np.ndarray | Tensor) -> Tensor:
        """Stored values -> what a model sees, float32 of the same shape, on the device where they are."""
        values = stored.float() if isinstance(stored, Tensor) else torch.from_numpy(np.array(stored, np.float32))
        return (values / 127.5 - 1 if self.kind == "images" else values) * self.scale

    def decode(self, x: Tensor) -> np.ndarray:
        """What a model makes -> stored values: uint8 images, rounded and clamped, or float32 points."""
        values = x.detach().float() / self.scale
        return values.cpu().numpy() if self.kind == "points" else as_bytes(values)

    @property
    def model_shape(self) -> tuple[int, ...]:
        """The shape of what a model sees."""
        return self.shape

    def examples(self, stored: Tensor, mirrored: Tensor | None, noise: Noise) -> Tensor:
        """What a model is trained on, of rows of a store. mirrored: [B], which of them are. noise: of what is drawn."""
        x0 = self.encode(stored)
        return x0 if mirrored is None else torch.where(mirrored.view(-1, *[1] * (x0.ndim - 1)), x0.flip(-1), x0)

    def decoder(self) -> nn.Module:
        """What a model makes -> images in [-1, 1], or points, as a module."""
        return Unscaled(self.scale)

    def kept_in(self, folder: Path) -> "DataSpace":
        """The same space, of a model in this folder."""
        return self

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that decoding needs beside those of every model."""
        return ()

    def check(self) -> None:
        """Raise ValueError unless what the space needs is what it was when it was described."""

    def write_into(self, folder: Path) -> None:
        """Write what a model in this folder needs of the space beside its description: of pixels nothing."""

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary; DataSpace(**it) is the same space."""
        return {**asdict(self), "shape": list(self.shape), "classes": list(self.classes)}


class Unscaled(nn.Module):
    """Divides by the scale of the data."""

    def __init__(self, scale: float):
        super().__init__()
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        return x / self.scale


def as_bytes(images: Tensor) -> np.ndarray:
    """Images in [-1, 1] -> uint8, rounded and clamped where they are, and so moved as bytes."""
    return ((images + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
