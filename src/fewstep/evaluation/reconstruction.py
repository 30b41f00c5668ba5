"""What an autoencoder leaves of real images: the floor of models that are trained in its latents."""

from collections.abc import Sequence

import numpy as np
import torch

from fewstep.data.latent_space import LatentSpace
from fewstep.evaluation.ladder import Judge, floor
from fewstep.evaluation.perception import compare, psnr
from fewstep.evaluation.results import Floor

BEST = 99.0  # dB, of images that come back as they were


def autoencoder_floor(
    space: LatentSpace, heldout: np.ndarray, judge: Judge, count: int, seeds: Sequence[int], device: str = "cpu"
) -> Floor:
    """Scores of the held-out images of the floor after they were encoded and decoded, and how near they are to what
    they were: PSNR in dB, and LPIPS if its weights are installed.
    """

    def scores(images: np.ndarray, seed: int) -> dict[str, float]:
        made = reconstructed(images, space, device)
        near = {"psnr": float(np.minimum(psnr(made, images), BEST).mean())}
        if judge.lpips:
            near["lpips"] = float(compare(made, images, judge.lpips, space.pixels).mean())
        return {**judge.scores(made, seed), **near}

    return floor(heldout, judge, count, seeds, scores)


def reconstructed(images: np.ndarray, space: LatentSpace, device: str = "cpu") -> np.ndarray:
    """uint8 images, encoded and decoded, some at a time."""
    starts = range(0, len(images), space.at_once)
    parts = (torch.from_numpy(np.array(images[start : start + space.at_once])) for start in starts)
    return np.concatenate([space.decode(space.encode(part.to(device))) for part in parts])
