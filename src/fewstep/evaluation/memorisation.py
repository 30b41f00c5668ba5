"""Whether a generator copies its training set: the nearest training images of each sample."""

import hashlib

import numpy as np
import torch
from torch import Tensor

from fewstep.support.device import best_device
from fewstep.support.errors import InvalidInput

RATIO = 1 / 3
CANDIDATES = 8
NEAREST = 3  # training images that a report shows of a sample: as many different ones there must be


class TrainingSet:
    """Training rows without duplicates, to be searched. values: [N, ...], uint8 or float; may be memory-mapped."""

    def __init__(self, values: np.ndarray):
        # A sample would be as near to the duplicate of an image as to the image, and so never count as a copy.
        first: dict[bytes, int] = {}
        for index, row in enumerate(values):
            first.setdefault(hashlib.blake2b(row.tobytes(), digest_size=16).digest(), index)
        self.indices = np.fromiter(first.values(), np.int64)
        self._values = values

    def nearest(self, samples: np.ndarray, k: int = 2, chunk: int = 4096) -> tuple[np.ndarray, np.ndarray]:
        """Euclidean distances [M, k] to the k nearest distinct training rows, ascending, and their indices [M, k].

        Candidates are found in float32, a chunk of samples and of training rows at a time, and measured again in
        float64, so that the distance to a copy is exactly 0. Raises ValueError where there are fewer than k distinct
        rows.
        """
        if len(self.indices) < k:
            raise InvalidInput(f"k must be at most {len(self.indices)}, the number of distinct training rows, got {k}.")
        parts = [self._nearest(samples[i : i + chunk], k, chunk) for i in range(0, len(samples), chunk)]
        distances, indices = (np.concatenate(part) for part in zip(*parts, strict=True))
        return distances, indices

    def _nearest(self, samples: np.ndarray, k: int, chunk: int) -> tuple[np.ndarray, np.ndarray]:
        flat, most, device = _flat(samples).float(), max(k, CANDIDATES), best_device()
        distances, found = (torch.empty(len(flat), 0, dtype=kind, device=device) for kind in (torch.float, torch.long))
        there = flat.to(device)
        for indices in np.split(self.indices, range(chunk, len(self.indices), chunk)):
            near = torch.cdist(there, _flat(self._values[indices]).float().to(device))
            near, order = near.topk(min(most, len(indices)), largest=False)
            distances = torch.cat([distances, near], dim=1)
            found = torch.cat([found, torch.from_numpy(indices).to(device)[order]], dim=1)
            distances, order = distances.topk(min(most, distances.shape[1]), largest=False)
            found = found.gather(1, order)
        found = found.cpu()
        # float32 loses small differences of large sums: the few candidates are measured again in float64.
        exact = [(flat.double() - _flat(self._values[column.numpy()]).double()).norm(dim=1) for column in found.T]
        exact, order = torch.stack(exact, dim=1).sort(dim=1, stable=True)
        return exact[:, :k].numpy(), found.gather(1, order)[:, :k].numpy()


def memorisation_rate(samples: np.ndarray, training: TrainingSet) -> float:
    """The share of samples whose nearest training image is less than a third as far as the second nearest.

    The definition of Yoon et al. 2023 (Diffusion probabilistic models generalize when they fail to memorize), in
    pixels, here among distinct training images: a copy of an image that the data hold twice counts as a copy. Held-out
    data give its floor, which in few dimensions is far from 0 (for points in a plane about 1/9).
    """
    distances, _ = training.nearest(samples)
    return float((distances[:, 0] < RATIO * distances[:, 1]).mean())


def _flat(values: np.ndarray) -> Tensor:
    return torch.from_numpy(np.array(values)).flatten(1)
