"""A feature extractor: a network whose activations stand for an image when sets of images are compared."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Features:
    """features: [N, D], logits: [N, K] of labels and spatial features [N, S], if any; float32 on the CPU: of N images,
    from one pass.
    """

    features: Tensor
    logits: Tensor | None = None
    spatial: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)


@dataclass(frozen=True)
class Extractor:
    """A network from uint8 images to features, under the name by which scores are called.

    sha256: of its weights. network: uint8 [B, C, H, W] -> (features [B, D], logits [B, K] if it has them, and after
    these spatial features [B, S] if it has those). shape: of the images that it takes, None for any. has_classes: it
    has logits, of labels: an inception score has a meaning. data_sha256: of the data for which it was trained, and no
    others; None of one that ships or is published.
    """

    name: str
    sha256: str
    network: Callable[[Tensor], tuple[Tensor, ...]]
    shape: tuple[int, int, int] | None = None
    has_classes: bool = True
    record: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    data_sha256: str | None = None

    def __call__(self, images: np.ndarray, batch_size: int = 64, spatial: bool = False) -> Features:
        """Features, and logits of labels, of uint8 images [N, C, H, W], in one pass over batches.

        spatial: with spatial features, which take as much memory again.
        """
        if images.dtype != np.uint8 or images.ndim != 4 or (self.shape and images.shape[1:] != self.shape):
            wanted = f"[N, {', '.join(map(str, self.shape or ('C', 'H', 'W')))}]"
            given = f"{images.dtype} {list(images.shape)}"
            raise InvalidInput(f"the extractor {self.name} takes uint8 {wanted}, got {given}.")
        with torch.inference_mode():
            batches = (
                torch.from_numpy(np.array(images[i : i + batch_size])) for i in range(0, len(images), batch_size)
            )
            kept = None if spatial else 2
            parts = [[part.float().cpu() for part in self.network(batch.to(self.device))[:kept]] for batch in batches]
        features, *others = (torch.cat(part) for part in zip(*parts, strict=True))
        logits, where = [*others, None, None][:2]
        return Features(features, logits if self.has_classes else None, where)


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
