"""How different images are: PSNR, and LPIPS (Zhang et al. 2018) where its weights are on this machine."""

import numpy as np
import torch
from torch import nn

from fewstep.data.space import DataSpace
from fewstep.losses.distances import build_distance
from fewstep.support.errors import UserError

PAIRS = 16


def find_lpips(space: DataSpace) -> nn.Module | None:
    """The LPIPS distance between model values of images; None without its weights, and for points."""
    if space.kind != "images":
        return None
    try:
        return build_distance("lpips", space.scale)
    except UserError:
        return None


def psnr(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in dB, [N]; infinite for equal ones. uint8 [N, C, H, W] both."""
    squares = (images.astype(np.float64) - references) ** 2
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / squares.reshape(len(squares), -1).mean(1))


@torch.inference_mode()
def compare(images: np.ndarray, references: np.ndarray, distance: nn.Module, space: DataSpace) -> np.ndarray:
    """LPIPS of each image to its reference, [N]. uint8 [N, C, H, W] both."""
    pairs = zip(images, references, strict=True)
    return np.array([distance(space.encode(a[None]), space.encode(b[None])).item() for a, b in pairs])


def diversity(samples: np.ndarray, distance: nn.Module, space: DataSpace) -> float:
    """The mean LPIPS of the first PAIRS pairs of adjacent samples: near 0 if all samples look alike."""
    count = 2 * min(PAIRS, len(samples) // 2)
    return float(compare(samples[0:count:2], samples[1:count:2], distance, space).mean())
