"""How close an edited image is to the original."""

import numpy as np

from fewstep.data.space import DataSpace
from fewstep.evaluation.perception import compare, find_lpips, psnr


def measure(edited: np.ndarray, given: np.ndarray, references: np.ndarray, space: DataSpace) -> dict[str, float]:
    """Means over the images: PSNR before and after editing, and LPIPS if its weights are installed."""
    found = {"psnr_given": psnr(given, references), "psnr": psnr(edited, references)}
    if distance := find_lpips(space):
        found["lpips"] = compare(edited, references, distance, space)
    return {name: mean(values) for name, values in found.items()}


def mean(values: np.ndarray) -> float:
    """A mean that is ready for JSON: the infinite PSNR of equal images counts as 99 dB."""
    return round(float(np.minimum(values, 99).mean()), 3)
