"""Projections for zero-shot editing: what is known of an image is put back into an estimate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fewstep.samplers.multistep import identity
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

LUMA = (0.2989, 0.5870, 0.1140)


@dataclass(frozen=True)
class Projection:
    """Song et al. 2023, Algorithm 4: A is orthogonal, and the known part of A y stays as it is.

    y: images [B, C, H, W]. transform, inverse: A and A^-1. unknown: O, True where A x is generated, as large as A x.
    """

    y: Tensor
    unknown: Tensor
    transform: Callable[[Tensor], Tensor] = identity
    inverse: Callable[[Tensor], Tensor] = identity

    def start(self) -> Tensor:
        """A^-1[(A y)(1 - O)]."""
        return self.inverse(self.transform(self.y).masked_fill(self.unknown, 0))

    def __call__(self, x: Tensor) -> Tensor:
        """A^-1[(A y)(1 - O) + (A x) O]. If A is the identity, known pixels stay the same to the bit."""
        return self.inverse(self.transform(x).where(self.unknown, self.transform(self.y)))

    def error(self, x: Tensor) -> float:
        """The largest difference between what is known and what x has there."""
        return (self.transform(x) - self.transform(self.y)).masked_fill(self.unknown, 0).abs().max().item()


def reflection(first: Tensor) -> Tensor:
    """An orthogonal matrix whose first column is a unit vector [n], n > 1: Householder's, which is its own inverse."""
    axis = first.clone()
    axis[0] -= 1
    return torch.eye(len(first), dtype=first.dtype) - 2 * torch.outer(axis, axis) / axis.dot(axis)


def known_pixels(y: Tensor, missing: Tensor) -> Projection:
    """Inpainting: A = I. missing: [H, W], True where pixels are missing."""
    return Projection(y, missing.to(y.device).expand(y.shape))


def known_grey(y: Tensor) -> Projection:
    """Colorization: A rotates colours so that the first channel is the luma (ITU-R 601); the others are unknown."""
    luma = torch.tensor(LUMA, dtype=torch.float64)
    turn = reflection(luma / luma.norm()).to(y)

    def turned(x: Tensor) -> Tensor:
        return torch.einsum("bchw,cd->bdhw", x, turn)

    unknown = torch.tensor([False, True, True], device=y.device)[:, None, None].expand(y.shape)
    return Projection(y, unknown, turned, turned)


def grey(x: Tensor) -> Tensor:
    """Grey images of the same luma, [B, 3, H, W]."""
    luma = x.new_tensor(LUMA)[:, None, None]
    return ((x * luma).sum(1, keepdim=True) / luma.sum()).expand(x.shape)


def known_means(y: Tensor, factor: int) -> Projection:
    """Super-resolution: A rotates each patch of factor x factor pixels so that its first coefficient is its mean."""
    check_factor(factor, y.shape[-2:])
    count = factor**2
    turn = reflection(torch.full((count,), 1 / factor, dtype=torch.float64)).to(y)

    def transform(x: Tensor) -> Tensor:
        return x.unfold(2, factor, factor).unfold(3, factor, factor).flatten(4) @ turn

    def inverse(x: Tensor) -> Tensor:
        patches = (x @ turn).unflatten(4, (factor, factor))  # [B, C, h, w, factor, factor]
        return patches.transpose(3, 4).flatten(4, 5).flatten(2, 3)

    unknown = (torch.arange(count, device=y.device) > 0).expand(transform(y).shape)
    return Projection(y, unknown, transform, inverse)


def check_factor(factor: int, size: Sequence[int]) -> None:
    """Raise ValueError unless images of this size are whole patches of factor x factor pixels."""
    fits = [n for n in range(2, min(size) + 1) if size[0] % n == size[1] % n == 0]
    if factor not in fits:
        allowed = ", ".join(map(str, fits)) or "none"
        raise InvalidInput.of("factor", factor, f"a divisor of both {size[0]} and {size[1]} ({allowed})")


MASKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {  # rows and columns in (0, 1) -> missing
    "center": lambda row, column: torch.maximum((row - 0.5).abs(), (column - 0.5).abs()) < 0.25,
    "frame": lambda row, column: torch.maximum((row - 0.5).abs(), (column - 0.5).abs()) > 0.25,
    "left": lambda row, column: column < 0.5,
    "right": lambda row, column: column > 0.5,
    "top": lambda row, column: row < 0.5,
    "bottom": lambda row, column: row > 0.5,
}


def named_mask(name: str, size: Sequence[int]) -> Tensor:
    """The mask of a name in MASKS: bool [H, W], True where pixels are missing."""
    check_name("mask", name, MASKS)
    places = [(torch.arange(n, dtype=torch.float64) + 0.5) / n for n in size]
    return MASKS[name](*torch.meshgrid(*places, indexing="ij"))
