"""Which images a step sees: a function of (seed, step, place in the global batch), so nothing about it is saved."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import numpy as np
import torch
from torch import Tensor

from fewstep.data.space import DataSpace, Noise
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


@dataclass(frozen=True)
class Fetched:
    """The host's part of a batch. stored: values as they are stored, [B, ...]; mirrored: [B], or None without flips;
    labels: [B, classes] one-hot, or None; draws: of the augmentation, or None.
    """

    stored: Tensor
    mirrored: Tensor | None
    labels: Tensor | None
    draws: StepRandomness | None

    def pinned(self) -> "Fetched":
        """In memory from which a GPU copies while it computes."""
        tensors = {name: getattr(self, name) for name in ("stored", "mirrored", "labels")}
        return replace(self, **{name: t.pin_memory() for name, t in tensors.items() if t is not None})


class Batches:
    """The batches of a training set. A GPU's are fetched by a thread, a step ahead."""

    def __init__(
        self,
        images: np.ndarray,
        labels: np.ndarray,
        space: DataSpace,
        settings: TrainingSettings,
        seed: int,
        ahead: bool = False,
    ):
        """images: rows of a store, images or latents."""
        self.images, self.labels, self.space, self.settings, self.seed = images, labels, space, settings, seed
        self._thread = ThreadPoolExecutor(1, "batches") if ahead else None
        self._coming: dict[tuple[int, int, int], Future[Fetched]] = {}

    def __call__(self, step: int, rows: slice, device: torch.device) -> Batch:
        """Some rows of the global batch of a step."""
        coming = self._coming.pop((step, rows.start, rows.stop), None)
        fetched = coming.result() if coming else self._fetch(step, rows)
        if self._thread:
            following = self._thread.submit(self._fetch, step + 1, rows, device.type == "cuda")
            self._coming[step + 1, rows.start, rows.stop] = following
        return self._batch(fetched, partial(self._noise, step, rows, device), device)

    def _fetch(self, step: int, rows: slice, pin: bool = False) -> Fetched:
        settings, size = self.settings, self.settings.batch_size
        indices = batch_indices(len(self.images), self.seed, step * size, size)[rows]
        rng = StepRandomness(derive_seed("batch", self.seed), step, size, rows)
        mirrored = rng.uniform() < 0.5 if settings.flips else None
        draws = StepRandomness(derive_seed("augment", self.seed), step, size, rows) if settings.augment.used else None
        fetched = Fetched(torch.from_numpy(self.images[indices]), mirrored, self._labels(indices, rng), draws)
        return fetched.pinned() if pin else fetched

    def _labels(self, indices: np.ndarray, rng: StepRandomness) -> Tensor | None:
        if not self.settings.labels:
            return None
        kept = rng.uniform() >= self.settings.label_dropout
        return torch.eye(len(self.space.classes))[torch.from_numpy(self.labels[indices])] * kept[:, None]

    def _noise(self, step: int, rows: slice, device: torch.device, shape: Sequence[int]) -> Tensor:
        """Of the examples themselves, where they are drawn, [rows, *shape]."""
        return StepRandomness(derive_seed("latents", self.seed), step, self.settings.batch_size, rows, device).normal(
            shape
        )

    def _batch(self, fetched: Fetched, noise: Noise, device: torch.device) -> Batch:
        """The device's part: what the model sees."""
        stored, mirrored, labels = (
            None if tensor is None else tensor.to(device, non_blocking=True)
            for tensor in (fetched.stored, fetched.mirrored, fetched.labels)
        )
        assert stored is not None
        x0 = self.space.examples(stored, mirrored, noise)
        if fetched.draws is None:
            return Batch(x0, labels)
        x0, told = self.settings.augment(x0, fetched.draws)
        return Batch(x0, labels, told)
