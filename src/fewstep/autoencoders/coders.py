"""Autoencoders in memory: from images in [-1, 1] to latents and back."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from fewstep.autoencoders.kinds import PATCHES
from fewstep.support.errors import InvalidInput
from fewstep.support.torchvision_loading import ensure_torchvision_loads

EXTRA = "Autoencoders of diffusers need the package diffusers: pip install 'fewstep[export]'"


class Moments(NamedTuple):
    """Mean and standard deviation of the latents of images, [B, C, h, w]; no std where images have one latent each."""

    mean: Tensor
    std: Tensor | None


class Coder(nn.Module):
    """Base of all. Images are [B, C, H, W] in [-1, 1], latents [B, C, h, w] as the autoencoder has them."""

    def encode(self, images: Tensor) -> Moments:
        """The distribution of the latents of images."""
        raise NotImplementedError

    def decode(self, latents: Tensor) -> Tensor:
        """Images of latents, which may lie a little outside [-1, 1]."""
        raise NotImplementedError

    def forward(self, latents: Tensor) -> Tensor:
        return self.decode(latents)


class PatchCoder(Coder):
    """Patches of pixels as channels."""

    def __init__(self, patch_size: int = 1, **_: Any):
        super().__init__()
        self.patch_size = patch_size

    def encode(self, images: Tensor) -> Moments:
        return Moments(F.pixel_unshuffle(images, self.patch_size), None)

    def decode(self, latents: Tensor) -> Tensor:
        return F.pixel_shuffle(latents, self.patch_size)


class DiffusersCoder(Coder):
    """An autoencoder of diffusers. Latents are those of its encoder: no scaling factor is applied."""

    def __init__(self, network: Any):
        super().__init__()
        self.network = network

    def encode(self, images: Tensor) -> Moments:
        found = self.network.encode(images)
        if (distribution := getattr(found, "latent_dist", None)) is not None:  # of AutoencoderKL
            return Moments(distribution.mean, distribution.std)
        return Moments(found.latents if hasattr(found, "latents") else found.latent, None)

    def decode(self, latents: Tensor) -> Tensor:
        return self.network.decode(latents).sample


def build_coder(kind: str, config: Mapping[str, Any]) -> Coder:
    """The autoencoder of a description. Raises ValueError where diffusers is missing, or cannot build it."""
    if kind == PATCHES:
        return PatchCoder(**config)
    network = _class_of(kind)
    try:
        return DiffusersCoder(network.from_config(dict(config)))
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RuntimeError) as problem:
        raise InvalidInput(f"diffusers builds no {kind} of it ({problem})") from problem


def _class_of(kind: str) -> Any:
    ensure_torchvision_loads()
    try:
        import diffusers  # pyright: ignore[reportMissingImports] (of the extra "export")
    except ImportError:
        raise InvalidInput(EXTRA) from None
    return getattr(diffusers, kind)
