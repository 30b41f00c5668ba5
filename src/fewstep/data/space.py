"""What data are, and how stored values become the numbers that a model sees."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.support.checks import between, check_fields, each, file_name, one_of, whole
from fewstep.support.errors import InvalidInput

SCALES = (1e-9, 1e9)  # beyond which float32 has no room for the noise levels beside the data
LARGEST = 2**16  # pixels of a side, or numbers of a point
MOST_CLASSES = 2**16


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
        values = x.detach().float().cpu() / self.scale
        if self.kind == "points":
            return values.numpy()
        return ((values + 1) * 127.5).round().clamp(0, 255).to(torch.uint8).numpy()

    def to_dict(self) -> dict[str, Any]:
        """A JSON-able dictionary; DataSpace(**it) is the same space."""
        return {**asdict(self), "shape": list(self.shape), "classes": list(self.classes)}
