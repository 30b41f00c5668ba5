"""Interpolation between two noises."""

from collections.abc import Sequence

import torch
from torch import Tensor

from fewstep.diffusion.levels import per_sample
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.support.errors import InvalidInput


def spherical(a: Tensor, b: Tensor, share: Tensor) -> Tensor:
    """From a at share 0 to b at share 1 along the great circle, each sample by itself. Song et al. 2023, App. D.

    a, b: [B, ...]; share: [B]. The angle is that between whole samples. Noises that are equal or opposite, up to
    rounding, define no circle: they are interpolated linearly.
    """
    cosine = torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).clamp(-1, 1)
    angle, share = cosine.acos(), share.to(a)
    sine = angle.sin()
    flat = sine < 1e-4
    weights = (((1 - share) * angle).sin() / sine).where(~flat, 1 - share), (share * angle).sin() / sine
    return per_sample(weights[0], a) * a + per_sample(weights[1].where(~flat, share), b) * b


def strip(a: Tensor, b: Tensor, frames: int, part: slice = slice(None)) -> Tensor:
    """Frames from a to b for each pair, both ends included: [B, ...] -> [B * frames, ...]; or a part of each strip."""
    share = torch.linspace(0, 1, frames, dtype=torch.float64)[part]
    count = len(share)
    return spherical(a.repeat_interleave(count, 0), b.repeat_interleave(count, 0), share.repeat(len(a)))


class KnownNoise:
    """Given noises in place of SampleRandomness: noises [draws, B, ...], one for each draw."""

    def __init__(self, noises: Tensor):
        self.device, self._left = noises.device, iter(noises)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """The next noise, [B, *shape]."""
        return next(self._left)

    def integers(self, high: int) -> Tensor:
        """Raises ValueError: labels are drawn by a seed, and there is none."""
        raise InvalidInput("labels must be given where the ends are images, which have no seed to draw them by.")


class StripRandomness:
    """The random numbers of frames: each noise is interpolated between those of the two ends. part: of each strip."""

    def __init__(self, ends: Sequence[SampleRandomness | KnownNoise], frames: int, part: slice = slice(None)):
        self.device, self._ends, self._frames, self._part = ends[0].device, ends, frames, part

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard Gaussian noise, [B * frames, *shape]: the next draw of each end, and noises between them."""
        first, last = (end.normal(shape) for end in self._ends)
        return strip(first, last, self._frames, self._part)

    def integers(self, high: int) -> Tensor:
        """Integers in [0, high), [B * frames]: those of the first end, for all frames."""
        return self._ends[0].integers(high).repeat_interleave(len(range(self._frames)[self._part]))
