"""Images under an affine map without aliasing: upsampled, sampled bilinearly and downsampled.

Karras et al. 2020, App. B. The two filters are one orthonormal wavelet's, so that the identity gives an image back.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

SYM6 = (  # the low-pass filter of the symlet of 12 taps, Daubechies 1992
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036, -0.007800708325034148,
)  # fmt: skip
MARGIN = 6  # pixels around an image: three at each end for either filter
Padding = tuple[int, int, int, int]  # left, right, top, bottom


def scaling(x: float | Tensor, y: float | Tensor) -> Tensor:
    """The matrix that multiplies the coordinates (x, y), [..., 3, 3]."""
    return matrix([[x, 0, 0], [0, y, 0], [0, 0, 1]])


def shift(x: float | Tensor, y: float | Tensor) -> Tensor:
    """The matrix that adds to the coordinates, [..., 3, 3]."""
    return matrix([[1, 0, x], [0, 1, y], [0, 0, 1]])


def rotation(angle: Tensor) -> Tensor:
    """The matrix that turns the coordinates by an angle in radians, [..., 3, 3]."""
    cos, sin = angle.cos(), angle.sin()
    return matrix([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])


def matrix(rows: list[list[float | Tensor]]) -> Tensor:
    """The matrix of these numbers, or one for each place of those that are tensors, [..., rows, columns]."""
    like = next((value for row in rows for value in row if isinstance(value, Tensor)), torch.zeros(()))
    alike = [[torch.as_tensor(value).to(like).expand_as(like) for value in row] for row in rows]
    return torch.stack([torch.stack(row, -1) for row in alike], -2)


def resample(images: Tensor, matrices: Tensor, padding: Padding | None = None) -> Tensor:
    """Each image [B, C, H, W] as its matrix [B, 3, 3] takes it from output pixels to input pixels, from the centre.

    padding: how far images are mirrored at their borders, beyond which there is 0; by default as far as they can be,
    so that an image does not depend on the others. (The authors pad as far as the batch needs, which is less work and
    the same within that distance.)
    """
    height, width = images.shape[-2:]
    left, right, top, bottom = padding or (width - 1, width - 1, height - 1, height - 1)
    images = F.pad(images, (left, right, top, bottom), mode="reflect")
    images = _upsampled(_upsampled(images, 3), 2)
    matrices = shift((left - right) / 2, (top - bottom) / 2) @ matrices
    half = shift(-0.5, -0.5)  # between the centre of the pixels and that of twice as many
    matrices = half @ scaling(2, 2) @ matrices @ scaling(0.5, 0.5) @ half.inverse()
    wide, high = 2 * (width + MARGIN), 2 * (height + MARGIN)
    theta = scaling(2 / images.shape[3], 2 / images.shape[2]) @ matrices @ scaling(wide / 2, high / 2)
    grid = F.affine_grid(theta[:, :2].to(images), [len(images), images.shape[1], high, wide], align_corners=False)
    images = F.grid_sample(images, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    return _downsampled(_downsampled(images, 3), 2)


def _upsampled(images: Tensor, axis: int) -> Tensor:
    """Twice as many pixels along an axis."""
    apart = torch.stack([images, torch.zeros_like(images)], axis + 1).flatten(axis, axis + 1)
    apart = apart.narrow(axis, 0, apart.shape[axis] - 1)
    return _filtered(apart, axis, SYM6[::-1], padding=6)


def _downsampled(images: Tensor, axis: int) -> Tensor:
    """Half as many pixels along an axis, and without the margin."""
    images = _filtered(images, axis, SYM6, stride=2, padding=5)
    return images.narrow(axis, MARGIN // 2, images.shape[axis] - MARGIN)


def _filtered(images: Tensor, axis: int, taps: tuple[float, ...], stride: int = 1, padding: int = 0) -> Tensor:
    """The correlation of each channel with the taps along an axis."""
    shape = [1, 1, 1, 1]
    shape[axis] = len(taps)
    weight = images.new_tensor(taps).view(shape).expand(images.shape[1], -1, -1, -1)
    strides, paddings = [1, 1], [0, 0]
    strides[axis - 2], paddings[axis - 2] = stride, padding
    return F.conv2d(images, weight, stride=strides, padding=paddings, groups=images.shape[1])
