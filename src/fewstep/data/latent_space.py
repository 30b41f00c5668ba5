"""Images that models see as latents of an autoencoder: sampled, normalised, and decoded wherever pixels are wanted."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fewstep.autoencoders import Autoencoder, Coder
from fewstep.autoencoders.kinds import PATCHES
from fewstep.data.space import LARGEST, SCALES, DataSpace, Noise, as_bytes
from fewstep.support.checks import between, check_fields, each, finite, sha256, whole
from fewstep.support.errors import InvalidInput

NUMERICS = 1  # of what a model sees of latents: see fewstep.training.numerics
AUTOENCODER = "autoencoder"  # the folder that a model and a store of latents keep it in
AT_ONCE = 2**18  # pixels that are encoded or decoded together


@dataclass(frozen=True)
class Latents:
    """What model values are. shape: [C, h, w]. shift, scale: of each channel, (latent - shift) * scale is what a model
    sees. autoencoder: its hash.
    """

    shape: tuple[int, ...]
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    autoencoder: str

    def __post_init__(self):
        for name in ("shape", "shift", "scale"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        check_fields(self, shape=each(whole(between(1, LARGEST)), most=3), shift=each(finite))
        check_fields(self, scale=each(between(*SCALES)), autoencoder=sha256)
        if {len(self.shift), len(self.scale)} != {self.shape[0]}:
            raise InvalidInput.of("shift and scale", [len(self.shift), len(self.scale)], f"of {self.shape[0]} channels")

    def normalise(self, latents: Tensor) -> Tensor:
        """Latents of the autoencoder, [B, C, h, w] -> what a model sees."""
        return (latents - self._of_channels(self.shift, latents)) * self._of_channels(self.scale, latents)

    def restore(self, x: Tensor) -> Tensor:
        """The inverse of normalise."""
        return x / self._of_channels(self.scale, x) + self._of_channels(self.shift, x)

    @staticmethod
    def _of_channels(values: tuple[float, ...], x: Tensor) -> Tensor:
        return torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)


@dataclass(frozen=True)
class LatentSpace(DataSpace):
    """The space of images, of which models see latents. What is said of images (kind, shape, scale) stays what it was.

    The autoencoder's weights are read when they are first needed, and kept as long as this object is.
    """

    latents: Latents = field(kw_only=True)
    autoencoder: Autoencoder = field(kw_only=True, compare=False)

    @classmethod
    def of(cls, images: DataSpace, autoencoder: Autoencoder, **measured: Any) -> "LatentSpace":
        """The latents of these images. measured: shift and scale. Raises ValueError for images that do not fit."""
        shape = autoencoder.latent_shape(images.shape)
        facts = measured or {"shift": [0.0] * shape[0], "scale": [1.0] * shape[0]}
        latents = Latents(shape, autoencoder=autoencoder.sha256, **facts)
        return cls(**vars(images), latents=latents, autoencoder=autoencoder)

    @property
    def pixels(self) -> DataSpace:
        """The space of the images themselves."""
        return DataSpace(self.name, self.kind, self.shape, self.scale, self.classes)

    @property
    def model_shape(self) -> tuple[int, ...]:
        return self.latents.shape

    @cached_property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride] (of pixels it is one word)
        """The hash of all that model values depend on beside the images."""
        return hashlib.sha256(json.dumps(asdict(self.latents), sort_keys=True).encode()).hexdigest()

    def coder(self, device: torch.device | str = "cpu") -> Coder:
        """The autoencoder in memory."""
        if "_coder" not in vars(self):
            vars(self)["_coder"] = self.autoencoder.load(device)
        return vars(self)["_coder"].to(device)

    @torch.no_grad()
    def encode(self, stored: np.ndarray | Tensor) -> Tensor:
        """Images -> the means of their latents, as a model sees them."""
        images = self.pixels.encode(stored) / self.scale
        coder = self.coder(images.device)
        return self.latents.normalise(torch.cat([coder.encode(part).mean for part in images.split(self.at_once)]))

    @torch.no_grad()
    def decode(self, x: Tensor) -> np.ndarray:
        """What a model makes -> uint8 images, decoded where it is, some at a time."""
        coder, latents = self.coder(x.device), self.latents.restore(x.detach().float())
        return np.concatenate([as_bytes(coder(part)) for part in latents.split(self.at_once)])

    @property
    def at_once(self) -> int:
        """How many images are encoded or decoded together."""
        return max(1, AT_ONCE // (self.shape[1] * self.shape[2]))

    def examples(self, stored: Tensor, mirrored: Tensor | None, noise: Noise) -> Tensor:
        """Latents that are drawn anew. stored: [B, copies, moments, h, w], float16, as in a LatentStore."""
        chosen = 0 if mirrored is None else mirrored.long()
        moments = stored[torch.arange(len(stored), device=stored.device), chosen].float()
        mean, *std = moments.split(self.latents.shape[0], dim=1)
        return self.latents.normalise(mean + std[0] * noise(self.latents.shape) if std else mean)

    def decoder(self) -> nn.Module:
        return Decoder(self.latents, self.coder())

    def kept_in(self, folder: Path) -> "LatentSpace":
        return replace(self, autoencoder=replace(self.autoencoder, folder=folder / AUTOENCODER))

    def write_into(self, folder: Path) -> None:
        self.autoencoder.copy_to(folder / AUTOENCODER)

    @property
    def packages(self) -> tuple[str, ...]:
        return () if self.autoencoder.kind == PATCHES else ("diffusers",)

    def check(self) -> None:
        """Raise ValueError unless the autoencoder is the one whose latents these are."""
        if (found := self.autoencoder.sha256) != self.latents.autoencoder:
            raise InvalidInput(
                f"{self.autoencoder.folder} is not the autoencoder whose latents these are: its hash is {found[:12]}, "
                f"not {self.latents.autoencoder[:12]}."
            )

    def to_dict(self) -> dict[str, Any]:
        latents = {
            name: list(value) if isinstance(value, tuple) else value for name, value in vars(self.latents).items()
        }
        return {**self.pixels.to_dict(), "latents": latents}


class Decoder(nn.Module):
    """What a model makes -> images."""

    def __init__(self, latents: Latents, coder: Coder):
        super().__init__()
        self.latents, self.coder = latents, coder

    def forward(self, x: Tensor) -> Tensor:
        return self.coder(self.latents.restore(x))


def seen_space(images: DataSpace, autoencoder: str | None) -> DataSpace:
    """What models see of images, before any is encoded: latents of the autoencoder in a folder, if it is given."""
    return LatentSpace.of(images, Autoencoder.open(autoencoder)) if autoencoder else images


def read_space(facts: Mapping[str, Any], folder: Path) -> DataSpace:
    """The inverse of to_dict. folder: in which the autoencoder is, if there is one; ValueError if it does not fit."""
    facts = dict(facts)
    if (latents := facts.pop("latents", None)) is None:
        return DataSpace(**facts)
    found = Autoencoder.open(folder / AUTOENCODER)
    space = LatentSpace(**facts, latents=Latents(**latents), autoencoder=found)
    if found.latent_shape(space.shape) != space.model_shape:
        raise InvalidInput(f"the latents have the shape {list(space.model_shape)}, which {found.folder} does not make")
    return space
