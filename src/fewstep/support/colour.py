"""Images of any number of channels for networks that take three."""

from torch import Tensor


def to_rgb(images: Tensor) -> Tensor:
    """[B, C, H, W] in [-1, 1] -> [B, 3, H, W]: gray is repeated, and what is transparent (C = 4) is shown on white."""
    if images.shape[1] != 4:
        return images.expand(-1, 3, -1, -1)
    colours, opacity = images[:, :3], (images[:, 3:].clamp(-1, 1) + 1) / 2
    return colours * opacity + (1 - opacity)


def bytes_to_rgb(images: Tensor) -> Tensor:
    """The same of uint8 images."""
    if images.shape[1] != 4:
        return images.expand(-1, 3, -1, -1)
    return ((to_rgb(images / 127.5 - 1) + 1) * 127.5).round().to(images.dtype)
