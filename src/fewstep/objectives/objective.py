"""What a training method is: a loss of each sample, and the few things that some methods need beside it."""

from collections.abc import Callable
from dataclasses import Field, dataclass, fields
from typing import Any, ClassVar

from torch import Tensor, nn

from fewstep.diffusion.functions import TrainingRandomness
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.support.errors import InvalidInput


@dataclass(frozen=True)
class Batch:
    """x0: clean data [B, ...], standard deviation sigma_data. labels: [B, classes] one-hot (zero row: none) or None.

    augment: how x0 was augmented, [B, columns] (zero row: not at all), or None.
    """

    x0: Tensor
    labels: Tensor | None = None
    augment: Tensor | None = None

    @property
    def conditions(self) -> dict[str, Tensor]:
        """What networks are told beside the labels, by the names of preconditioners' arguments."""
        return {} if self.augment is None else {"augment": self.augment}


@dataclass(frozen=True)
class Progress:
    """Where a training stands: the step to be made, counted from 0, and the images seen before it."""

    step: int
    total_steps: int
    images: int
    total_images: int


@dataclass(frozen=True)
class Networks:
    """The functions of (x, sigma, labels) that a loss is made of.

    student: is trained. target: the student's slow copy, or the student itself where target_decay is 0; never trained.
    teacher: frozen, or None. distance: (a, b) -> [B]. modules: what the objective trains beside the student.
    earlier: the frozen model that was trained before this training, in a method that needs_earlier, or None.
    mean_over_workers: averages a tensor that speaks of the batch over all workers, without gradient.
    at_levels: takes a part of the loss, [B], and the noise levels that it belongs to, [B] each, and returns that part.
    The loop remembers them, to say at which levels a loss was not finite.
    """

    student: Preconditioner
    target: Preconditioner
    teacher: Preconditioner | None
    distance: nn.Module
    modules: dict[str, nn.Module]
    mean_over_workers: Callable[[Tensor], Tensor] = Tensor.detach
    at_levels: Callable[..., Tensor] = lambda loss, *levels: loss
    earlier: Preconditioner | None = None

    def denoise(self, x: Tensor, sigma: Tensor, labels: Tensor | None, **conditions: Tensor) -> Tensor:
        """The teacher's estimate of clean data, in a method that needs_teacher."""
        assert self.teacher is not None
        return self.teacher(x, sigma, labels, **conditions)

    def before(self, x: Tensor, sigma: Tensor, labels: Tensor | None) -> Tensor:
        """The earlier model's output, in a method that needs_earlier."""
        assert self.earlier is not None
        return self.earlier(x, sigma, labels)


class Objective:
    """Base of the methods: frozen dataclasses whose fields are their constants; schedules are functions of progress.

    A method is a file of this folder named after it, with one such class. A recipe names the file.
    numerics: raised when a seeded loss becomes another number (fewstep.training.numerics).
    needs_teacher: the loss calls it. needs_earlier: the loss calls the model of the recipe's earlier one.
    guides_itself: its target is guided by the student's own passes with and without labels, so that labels must be
    hidden at times. second_time: the student's network is told one. takes_augmentation: networks are told
    batch.conditions. sampler: with which the student is sampled, if nobody says another.
    has_idle_modules: some extra modules have no part in some steps. needs_whole_batch: the losses of a batch depend on
    each other, so that a worker's share is not cut into micro-batches. grouped_by: the constant that says how many
    samples, one after another, depend on each other, where it is not the whole batch. bears_bf16: rounding
    to bf16 is little beside the gradient at every step (benchmarks/rounding.py), so precision auto uses it; not so for
    a loss whose signal is the difference of two nearly equal outputs. trained_beside: how many networks of the
    student's size are trained beside it.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]  # of each method: this base is none

    numerics: ClassVar[int]
    needs_teacher = False
    guides_itself = False
    needs_earlier = False
    second_time = False
    takes_augmentation = False
    preconditioner = "consistency"
    sampler = "multistep"
    trained_beside = 0
    has_idle_modules = False
    needs_whole_batch = False
    grouped_by = ""
    bears_bf16 = False
    distance: str | dict[str, Any] = "l2"

    @property
    def group(self) -> int:
        """How many samples no micro-batch and no worker cuts."""
        return getattr(self, self.grouped_by) if self.grouped_by else 1

    @property
    def name(self) -> str:
        """The name of its file, by which recipes know it."""
        return type(self).__module__.rpartition(".")[2]

    @classmethod
    def constants(cls) -> tuple[str, ...]:
        """The names of the method's constants."""
        return tuple(field.name for field in fields(cls))

    def to_json(self) -> dict[str, Any]:
        """{name, ...its constants}, from which build_objective builds the same."""
        return {"name": self.name, **{constant: getattr(self, constant) for constant in self.constants()}}

    def __call__(
        self, networks: Networks, batch: Batch, progress: Progress, rng: TrainingRandomness
    ) -> Tensor | dict[str, Tensor]:
        """Loss of each sample, [B]; or {optimiser: [B]}, "student" and modules that have losses of their own."""
        raise NotImplementedError

    def check_student(self, student: Preconditioner) -> None:
        """Raise ValueError if the student's network has not what the loss needs, or parts that it leaves idle."""
        settings = student.network.settings
        if settings["second_time"] != self.second_time:
            uses = "needs a second time input" if self.second_time else "has no use for a second time input"
            raise InvalidInput(f"network.second_time must be {str(self.second_time).lower()}: this method {uses}.")

    @property
    def shares(self) -> tuple[float, ...]:
        """Parts of the samples, in sum 1, that have a loss of their own each, by rng.parted. A method says so by a
        constant flow_share.
        """
        first = getattr(self, "flow_share", 0.0)
        return tuple(share for share in (first, 1 - first) if share > 0)

    @property
    def least_level(self) -> float | None:
        """The level below which a model of this method is not to be called, if there is one above the boundary."""
        return None

    def check_earlier(self, earlier: "Objective") -> None:
        """Raise ValueError if the model that this method trains is not one that the loss, which needs it, can call."""

    def modules(self, student: Preconditioner, scale: float) -> dict[str, nn.Module]:
        """Extra modules to train, each with an optimiser of its own. scale: the data's, as in DataSpace."""
        return {}

    def begin(self, networks: Networks) -> None:
        """Set what extra modules begin with, once all networks have their first weights.

        Raises ValueError if networks do not fit.
        """

    def settings(self, module: str) -> dict[str, Any]:
        """What is another in the optimiser of an extra module than in the student's: fields of TrainingSettings."""
        return {}

    def target_decay(self, progress: Progress) -> float | None:
        """mu of target <- mu target + (1 - mu) student after this step; None: the target is the student itself."""
        return None

    def stage(self, progress: Progress) -> Progress:
        """The part of the training that progress lies in, counted from that part's own start.

        Where a later part begins, the student is made the teacher, and the average, the optimisers, warm-up and decay
        begin anew.
        """
        return progress
