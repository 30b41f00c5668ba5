"""Which images a step sees: a function of (seed, step, place in the global batch), so nothing about it is saved."""

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from fewstep.data.space import DataSpace
from fewstep.diffusion.randomness import StepRandomness, derive_seed
from fewstep.objectives import Batch
from fewstep.training.hyperparameters import TrainingSettings


@lru_cache(maxsize=2)
def epoch_order(count: int, seed: int, epoch: int) -> np.ndarray:
    """The order of an epoch: a permutation of range(count)."""
    return np.random.default_rng(derive_seed("epoch", seed, epoch)).permutation(count)


def batch_indices(count: int, seed: int, first: int, size: int) -> np.ndarray:
    """Rows of the images first ... first + size - 1 of an endless shuffled stream, [size]."""
    epochs, places = np.divmod(np.arange(first, first + size), count)
    return np.concatenate([epoch_order(count, seed, int(e))[places[epochs == e]] for e in np.unique(epochs)])


class Batches:
    """The batches of a training set."""

    def __init__(self, images: np.ndarray, labels: np.ndarray, space: DataSpace, settings: TrainingSettings, seed: int):
        self.images, self.labels, self.space, self.settings, self.seed = images, labels, space, settings, seed

    def __call__(self, step: int, rows: slice, device: torch.device) -> Batch:
        """Some rows of the global batch of a step."""
        size = self.settings.batch_size
        indices = batch_indices(len(self.images), self.seed, step * size, size)[rows]
        rng = StepRandomness(derive_seed("batch", self.seed), step, size, rows)
        x0 = self.space.encode(self.images[indices])
        if self.settings.flips:
            x0 = torch.where((rng.uniform() < 0.5).view(-1, *[1] * (x0.ndim - 1)), x0.flip(-1), x0)
        x0, labels = x0.to(device, non_blocking=True), self._labels(indices, rng, device)
        if not self.settings.augment.used:
            return Batch(x0, labels)
        draws = StepRandomness(derive_seed("augment", self.seed), step, size, rows)
        x0, told = self.settings.augment(x0, draws)
        return Batch(x0, labels, told)

    def _labels(self, indices: np.ndarray, rng: StepRandomness, device: torch.device) -> Tensor | None:
        if not self.settings.labels:
            return None
        kept = rng.uniform() >= self.settings.label_dropout
        labels = torch.eye(len(self.space.classes))[torch.from_numpy(self.labels[indices])]
        return (labels * kept[:, None]).to(device, non_blocking=True)
