"""Random numbers as functions of their place, never of what was drawn before."""

import hashlib
import math
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

NUMERICS = 1  # of every random number, and of the order of the images: see fewstep.training.numerics


def derive_seed(*place: int | str) -> int:
    """A 63-bit seed for a place such as ("training", seed, step): the same place, the same seed, on every machine."""
    digest = hashlib.blake2b(repr(place).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@contextmanager
def seeded_dropout(seed: int, device: torch.device) -> Generator[None]:
    """Dropout masks within are a function of seed, on CPU and CUDA alike; generators around it are left as they were.

    Two forward passes of one network, each in a context of its own with the same seed, share their masks.
    """
    cuda = [device.index if device.index is not None else torch.cuda.current_device()] if device.type == "cuda" else []
    with torch.random.fork_rng(cuda):
        # torch.manual_seed would seed the generators of every backend, which takes longer than a small network's pass.
        for generator in (torch.default_generator, *(torch.cuda.default_generators[index] for index in cuda)):
            generator.manual_seed(seed)
        yield


@dataclass
class StepRandomness:
    """The random numbers of one training step for some rows of the global batch.

    Every draw is made for the whole global batch and cut to `rows`, so the numbers of a sample do not depend on the
    number of workers or micro-batches. The n-th draw of a step is the same in whichever process makes it.
    """

    seed: int
    step: int
    global_batch: int
    rows: slice
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    def __post_init__(self):
        place = self.seed, self.step
        self._generator = torch.Generator(self.device).manual_seed(derive_seed("step", *place))
        self._on_host = self._generator
        if self.device.type != "cpu":
            self._on_host = torch.Generator().manual_seed(derive_seed("step on the host", *place))

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard Gaussian numbers, [rows, *shape]."""
        return torch.randn(self.global_batch, *shape, generator=self._generator, device=self.device)[self.rows]

    def uniform(self) -> Tensor:
        """Uniform numbers in [0, 1), [rows]."""
        return torch.rand(self.global_batch, generator=self._generator, device=self.device)[self.rows]

    def shared(self) -> Tensor:
        """One uniform number in [0, 1) for the whole global batch, [], on the CPU: reading it waits for no device."""
        return torch.rand((), generator=self._on_host)

    def integers(self, high: int) -> Tensor:
        """Integers in [0, high), [rows]."""
        return torch.randint(high, (self.global_batch,), generator=self._generator, device=self.device)[self.rows]

    def parted(self, share: float) -> tuple[Tensor, Tensor]:
        """Places of this share of the rows and of the others, even over batch and steps, whatever the workers."""
        numbers = range(self.step + self.rows.start, self.step + self.rows.stop)
        chosen = [math.floor((n + 1) * share) > math.floor(n * share) for n in numbers]
        first, second = (
            torch.tensor([place for place, one in enumerate(chosen) if one == part], dtype=torch.int64)
            for part in (True, False)
        )
        return first.to(self.device, non_blocking=True), second.to(self.device, non_blocking=True)

    def dropout(self):
        """A context whose dropout masks are those of this step and these rows: one for each pass that shares them."""
        return seeded_dropout(derive_seed("dropout", self.seed, self.step, self.rows.start), self.device)


class SampleRandomness:
    """The noise of generated samples: a function of (seed, index of the sample, draw), whatever the batch.

    seed: that of all samples, or one for each.
    """

    def __init__(
        self, seed: int | Sequence[int], indices: Sequence[int] | np.ndarray, device: torch.device | str = "cpu"
    ):
        self.device = torch.device(device)
        seeds = seed if isinstance(seed, Sequence) else [seed] * len(indices)
        places = [derive_seed("sample", s, int(i)) for s, i in zip(seeds, indices, strict=True)]
        self._generators = [torch.Generator().manual_seed(place) for place in places]

    def normal(self, shape: Sequence[int]) -> Tensor:
        """Standard Gaussian noise, [B, *shape]: the next draw of each sample."""
        return self._moved([torch.randn(*shape, generator=g) for g in self._generators])

    def integers(self, high: int) -> Tensor:
        """Integers in [0, high), [B]: the next draw of each sample."""
        return self._moved([torch.randint(high, (), generator=g) for g in self._generators])

    def _moved(self, drawn: list[Tensor]) -> Tensor:
        """What was drawn on the host, where every device gets the same numbers, on its way to the device."""
        together = torch.stack(drawn)
        pinned = together.pin_memory() if self.device.type == "cuda" else together
        return pinned.to(self.device, non_blocking=True)
