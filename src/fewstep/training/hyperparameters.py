"""The numbers of a training that are not the method's."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from fewstep.data.augmentation import Augmentation
from fewstep.support.checks import (
    above,
    at_least,
    between,
    check_fields,
    distinct,
    each,
    instance_of,
    up_to,
    whole,
    within,
)
from fewstep.support.errors import InvalidInput
from fewstep.support.later import later
from fewstep.support.names import check_name
from fewstep.training.power_average import STD

OPTIMIZERS = ("adam", "adamw", "radam")
PRECISIONS = ("auto", "bf16", "fp32")
RESULTS = ("last", "best")  # of a training that is scored
FEWEST_SCORED = 10  # samples, as of any score
DECAYS = ("constant", "linear", "cosine", "inverse_sqrt")  # of the learning rate
MOST_IMAGES, MOST_IN_A_BATCH = 10**12, 2**20  # of a training


@dataclass(frozen=True)
class TrainingSettings:
    """Lengths are in images seen, so that they mean the same at every batch size.

    batch_size: the global batch; micro_batch_size: what one worker takes at once, 0 for its whole share (the rest is
    gradient accumulation). learning_rate_decay: "linear" or "cosine" to 0 over the whole training, "constant", or
    "inverse_sqrt": over the root of images / learning_rate_reference, from that many images on (Karras et al. 2024, Eq.
    67). ema_halflife: images; ema_rampup: the half-life is at most this fraction of the images seen (0: no ramp-up). A
    method with stages warms up, decays and ramps up in each. averages: relative standard deviations of power-function
    averages that are kept beside that one, from which `fewstep average` makes others; snapshots: how often they are
    written. clip: norm of the gradient, 0 for none. precision: bf16 autocast, fp32, or auto: bf16 on a GPU that has it,
    if the method's gradient bears its rounding. labels: class-conditional; label_dropout: how often a label is hidden,
    for guidance. flips: random horizontal flips, of which the network is not told; augment: transformations of which
    it is told. scores_every: images between two scores of scores_count samples at 1 and 2 NFE, 0 for none; patience:
    how many scores in a row may be no better before the training stops, 0 for any number; result: the weights that it
    ends with, the "last" or those of the "best" score.
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
    learning_rate_reference: int = later(0)
    augment: Augmentation = later(Augmentation())
    averages: tuple[float, ...] = later(())
    snapshots: int = later(16)
    scores_every: int = later(0)
    scores_count: int = later(400)
    patience: int = later(0)
    result: str = later("last")

    def __post_init__(self):
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "averages", tuple(self.averages))
        if isinstance(self.augment, Mapping):
            object.__setattr__(self, "augment", Augmentation(**self.augment))
        check_name("optimizer", self.optimizer, OPTIMIZERS)
        check_name("precision", self.precision, PRECISIONS)
        check_name("learning_rate_decay", self.learning_rate_decay, DECAYS)
        images, length = up_to(MOST_IMAGES, whole(above(0))), up_to(MOST_IMAGES, at_least(0))
        check_fields(self, images=images, checkpoint_every=images, progress_every=images, pictures_every=images)
        check_fields(self, learning_rate_warmup=whole(length), learning_rate_reference=whole(length))
        check_fields(self, ema_halflife=length, ema_rampup=between(0, 1))
        check_fields(self, batch_size=up_to(MOST_IN_A_BATCH, whole(above(0))))
        check_fields(self, micro_batch_size=up_to(MOST_IN_A_BATCH, whole(at_least(0))))
        check_fields(self, learning_rate=up_to(1000, above(0)), betas=each(within(0, 1)), label_dropout=within(0, 1))
        check_fields(self, weight_decay=up_to(1000, at_least(0)), clip=up_to(1e6, at_least(0)))
        check_fields(self, snapshots=up_to(10_000, whole(at_least(1))))
        if self.averages:
            check_fields(self, averages=each(STD, most=20))
            check_fields(self, averages=distinct)
        check_fields(self, scores_every=whole(length), scores_count=up_to(10**6, whole(at_least(FEWEST_SCORED))))
        check_fields(self, patience=up_to(10_000, whole(at_least(0))))
        boolean = instance_of(bool, "true or false")
        check_fields(self, labels=boolean, flips=boolean)
        self._check_reference()
        check_name("result", self.result, RESULTS)
        if self.scores_decide and not self.scores_every:
            given = "patience" if self.patience else "result: best"
            raise InvalidInput(f"scores_every must be above 0 with {given}, which goes by scores, got 0.")

    @property
    def scores_decide(self) -> bool:
        """Whether the weights that a training ends with depend on scores."""
        return bool(self.patience) or self.result == "best"

    def _check_reference(self):
        wanted = self.learning_rate_decay == "inverse_sqrt"
        if wanted != bool(self.learning_rate_reference):
            allowed = "above 0 with learning_rate_decay inverse_sqrt" if wanted else "0 without inverse_sqrt"
            raise InvalidInput.of("learning_rate_reference", self.learning_rate_reference, allowed)

    @property
    def steps(self) -> int:
        """Optimiser steps: images over batch_size, rounded up."""
        return -(-self.images // self.batch_size)

    def learning_rate_at(self, images: int, total_images: int) -> float:
        """The learning rate of the step that starts when `images` of total_images have been seen."""
        warmup = min((images + self.batch_size) / self.learning_rate_warmup, 1.0) if self.learning_rate_warmup else 1.0
        return self.learning_rate * warmup * self._decay_at(images, total_images)

    def _decay_at(self, images: int, total_images: int) -> float:
        """The share of the learning rate that is left."""
        match self.learning_rate_decay:
            case "linear":
                return 1 - images / total_images
            case "cosine":
                return (1 + math.cos(math.pi * images / total_images)) / 2
            case "inverse_sqrt":
                return max(images / self.learning_rate_reference, 1.0) ** -0.5
            case _:
                return 1.0

    def ema_decay_at(self, images: int) -> float:
        """How much the average keeps in the step that ends when `images` have been seen. Karras et al. 2022's code."""
        halflife = min(self.ema_halflife, images * self.ema_rampup) if self.ema_rampup else self.ema_halflife
        return 0.5 ** (self.batch_size / max(halflife, 1e-8))

    def micro_batches(self, workers: int, whole: bool = False, group: int = 1, constant: str = "") -> int:
        """Forward passes of a worker in a step. whole: its share is not to be cut, as some methods want; group: nor
        are so many samples, as a constant of the method says.

        Raises ValueError if the global batch cannot be shared so.
        """
        share, rest = divmod(self.batch_size, workers)
        micro = self.micro_batch_size or share
        if rest or not share or share % micro:
            raise InvalidInput(
                f"batch_size must be a multiple of workers x micro_batch_size ({workers} x {micro}), "
                f"got {self.batch_size}."
            )
        if micro % group:
            raise InvalidInput(
                f"batch_size / workers and micro_batch_size must be multiples of {group}, which belong together with "
                f"this method{f' (objective.{constant})' if constant else ''}, got {share} and {self.micro_batch_size}."
            )
        if whole and share > micro:
            raise InvalidInput(
                f"micro_batch_size must be 0 (a worker's whole share, {share}), got {micro}: with this method the "
                "losses of a batch depend on each other."
            )
        return share // micro
