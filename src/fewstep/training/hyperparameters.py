"""The numbers of a training that are not the method's."""

import math
from dataclasses import dataclass

from fewstep.support.names import check_name

OPTIMIZERS = ("adam", "adamw", "radam")
PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True)
class TrainingSettings:
    """Lengths are in images seen, so that they mean the same at every batch size.

    batch_size: the global batch; micro_batch_size: what one worker takes at once, 0 for its whole share (the rest is
    gradient accumulation). learning_rate_decay: over the whole training, "linear" to 0, or "constant". ema_halflife:
    images; ema_rampup: the half-life is at most this fraction of the images seen (0: no ramp-up). A method with stages
    warms up, decays and ramps up in each. clip: norm of the gradient, 0 for none. precision: bf16 autocast, fp32, or
    auto: bf16 on a GPU that has it. labels: class-conditional; label_dropout: how often a label is hidden, for
    guidance. flips: random horizontal flips.
    *_every: images between two checkpoints, lines of progress, sheets of samples.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    images: int = 384_000
    batch_size: int = 128
    micro_batch_size: int = 0
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    learning_rate_warmup: int = 0
    learning_rate_decay: str = "linear"
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 1.0
    ema_halflife: float = 10_000.0
    ema_rampup: float = 0.05
    precision: str = "auto"
    labels: bool = False
    label_dropout: float = 0.1
    flips: bool = False
    checkpoint_every: int = 40_000
    progress_every: int = 2_560
    pictures_every: int = 64_000

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        check_name("precision", self.precision, PRECISIONS)
        check_name("learning_rate_decay", self.learning_rate_decay, ("constant", "linear"))
        for name in ("images", "batch_size", "learning_rate", "checkpoint_every", "progress_every", "pictures_every"):
            self._check(name, 0 < getattr(self, name) < math.inf, "it is above 0 and finite")
        for name in ("micro_batch_size", "learning_rate_warmup", "weight_decay", "clip", "ema_halflife", "ema_rampup"):
            self._check(name, 0 <= getattr(self, name) < math.inf, "it is at least 0 and finite")
        self._check("label_dropout", 0 <= self.label_dropout < 1, "it is in [0, 1)")
        self._check("betas", all(0 <= b < 1 for b in self.betas), "both are in [0, 1)")

    def _check(self, name: str, holds: bool, allowed: str):
        if not holds:
            raise ValueError(f"{name} is {getattr(self, name)}: {allowed}.")

    @property
    def steps(self) -> int:
        """Optimiser steps: images over batch_size, rounded up."""
        return -(-self.images // self.batch_size)

    def learning_rate_at(self, images: int, total_images: int) -> float:
        """The learning rate of the step that starts when `images` of total_images have been seen."""
        warmup = min((images + self.batch_size) / self.learning_rate_warmup, 1.0) if self.learning_rate_warmup else 1.0
        decay = 1 - images / total_images if self.learning_rate_decay == "linear" else 1.0
        return self.learning_rate * warmup * decay

    def ema_decay_at(self, images: int) -> float:
        """How much the average keeps in the step that ends when `images` have been seen. Karras et al. 2022's code."""
        halflife = min(self.ema_halflife, images * self.ema_rampup) if self.ema_rampup else self.ema_halflife
        return 0.5 ** (self.batch_size / max(halflife, 1e-8))

    def micro_batches(self, workers: int, whole: bool = False) -> int:
        """Forward passes of a worker in a step. whole: its share is not to be cut, as some methods want.

        Raises ValueError if the global batch cannot be shared so.
        """
        share, rest = divmod(self.batch_size, workers)
        micro = self.micro_batch_size or share
        if rest or not share or share % micro:
            raise ValueError(
                f"batch_size {self.batch_size} cannot be shared by {workers} workers in micro-batches of "
                f"{micro}: it is a multiple of workers x micro_batch_size."
            )
        if whole and share > micro:
            raise ValueError(
                f"micro_batch_size is {micro}, and this method's losses of a batch depend on each other: it is 0, so "
                f"that a worker takes its share of {share} at once."
            )
        return share // micro
