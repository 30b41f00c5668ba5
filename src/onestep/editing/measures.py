"""How near an edited image is to the one that was degraded."""

import numpy as np
import torch

from onestep.data.space import DataSpace
from onestep.diffusion.distances import build_distance


def psnr(images: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Peak signal-to-noise ratio of each image in dB, [N]; infinite for equal ones. uint8 [N, C, H, W] both."""
    squares = (images.astype(np.float64) - references) ** 2
    with np.errstate(divide="ignore"):
        return 10 * np.log10(255**2 / squares.reshape(len(squares), -1).mean(1))


@torch.inference_mode()
def lpips(images: np.ndarray, references: np.ndarray, space: DataSpace) -> np.ndarray | None:
    """LPIPS of each image, [N]; None where its weights are not on this machine. uint8 [N, C, H, W] both."""
    try:
        distance = build_distance("lpips", space.scale)
    except ValueError:
        return None
    pairs = zip(images, references, strict=True)
    return np.array([distance(space.encode(a[None]), space.encode(b[None])).item() for a, b in pairs])


def measure(edited: np.ndarray, given: np.ndarray, references: np.ndarray, space: DataSpace) -> dict:
    """Means over the images: PSNR of what was given and of what was made of it, and LPIPS where there are weights."""
    found = {"psnr_given": psnr(given, references), "psnr": psnr(edited, references)}
    if (perceived := lpips(edited, references, space)) is not None:
        found["lpips"] = perceived
    return {name: round(float(np.minimum(values, 99).mean()), 3) for name, values in found.items()}
