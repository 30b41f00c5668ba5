"""A recipe: one way to train, and whether it fits its data, its teacher and the workers."""

import math
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

from fewstep.data.examples import Examples
from fewstep.data.space import DataSpace
from fewstep.diffusion.levels import RHO, RHOS, SIGMA_MAX, SIGMA_MIN
from fewstep.losses.distances import check_data_of_distance
from fewstep.models.model import SavedModel, build_function
from fewstep.models.spec import Levels, ModelSpec, levels_from_json, levels_to_json
from fewstep.objectives import Objective, build_objective
from fewstep.preconditioning import Preconditioner
from fewstep.support.checks import check_fields, inside
from fewstep.support.errors import InvalidInput
from fewstep.support.later import later
from fewstep.support.names import check_name
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.start import check_start


@dataclass(frozen=True)
class NoiseRange:
    """The ends of the noise, and the curvature of the grids between them (Karras et al. 2022, Eq. 5).

    sigma_min is also the boundary level of a consistency function. Samplers start at sigma_max, so it is 80.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    sigma_min: float = SIGMA_MIN
    sigma_max: float = SIGMA_MAX
    rho: float = RHO

    def __post_init__(self):
        if self.sigma_max != SIGMA_MAX:
            raise InvalidInput.of("sigma_max", self.sigma_max, f"{SIGMA_MAX:g}, where samplers start")
        check_fields(self, sigma_min=inside(0, SIGMA_MAX), rho=RHOS)


@dataclass(frozen=True)
class Recipe:
    """One way to train: the teacher's, or a student's.

    network, preconditioning: {name, ...arguments} of build_network and build_preconditioner. earlier: a recipe that is
    trained before this one, to start from or for the loss. start: "scratch", or "teacher" or "earlier" for the weights
    of either; start_new: where that one may differ then, as beginnings of names of parameters and of the network's
    settings. levels: {NFE: noise levels after the first} at which the student is sampled. picture_nfe:
    NFE of the sheets made while it trains. noise: stated once for the objective and the preconditioner.
    """

    name: str
    objective: Objective
    training: TrainingSettings
    network: dict[str, Any]
    preconditioning: dict[str, Any]
    start: Literal["scratch", "teacher", "earlier"] = "scratch"
    start_new: tuple[str, ...] = ()
    levels: Levels = field(default_factory=dict)
    picture_nfe: tuple[int, ...] = (1,)
    noise: NoiseRange = NoiseRange()
    seed: int = 0
    earlier: "Recipe | None" = later(None)

    def __post_init__(self):
        self._check_earlier()
        wrapper, sampler = self.preconditioning["name"], self.objective.sampler
        check_name(f"preconditioner for {self.objective.name}", wrapper, (self.objective.preconditioner,))
        if sampler == "heun" and any(nfe % 2 == 0 for nfe in self.picture_nfe):
            raise InvalidInput.of("picture_nfe", list(self.picture_nfe), "odd numbers with Heun's method")
        if sampler == "heun" and self.levels:
            raise InvalidInput.of("levels", self.levels, "empty with Heun's method, which has its own")
        least = self.objective.least_level
        boundary = self.preconditioning.get("boundary", self.noise.sigma_min)
        above = math.nextafter(least, 0) if least else boundary  # that level itself is trained
        for nfe, levels in self.levels.items():
            if len(levels) != nfe - 1 or sorted(set(levels), reverse=True) != list(levels):
                raise InvalidInput(f"levels of {nfe} NFE must be {nfe - 1} decreasing numbers, got {list(levels)}.")
            if levels and not above < levels[-1] <= levels[0] < SIGMA_MAX:
                allowed = f"between {above:g} and {SIGMA_MAX:g}"
                raise InvalidInput(f"levels of {nfe} NFE must be {allowed}, got {list(levels)}.")

    def _check_earlier(self) -> None:
        """Raise ValueError where the earlier recipe is missing, has no part in this one, or does not fit."""
        needed = self.objective.needs_earlier or self.start == "earlier"
        if self.earlier is None and needed:
            why = f"{self.objective.name} needs it" if self.objective.needs_earlier else "start is earlier"
            raise InvalidInput(f"earlier must be given, such as {{like: ect}}, since {why}.")
        if self.earlier is None:
            return
        if not needed:
            raise InvalidInput(f"earlier must be left out: neither start nor {self.objective.name} uses it.")
        if self.objective.needs_earlier:
            self.objective.check_earlier(self.earlier.objective)

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher gives it, or an earlier recipe, the method's target or the first weights."""
        return any(each.objective.needs_teacher or each.start == "teacher" for each in self.chain)

    @property
    def chain(self) -> list["Recipe"]:
        """The recipes that are trained for this one, in their order: the earlier ones, and this one."""
        return [*(self.earlier.chain if self.earlier else ()), self]

    @property
    def stages(self) -> list["Recipe"]:
        """The recipes that one student goes through, in their order: each starts from the weights of the one before."""
        before = self.earlier.stages if self.earlier and self.start == "earlier" else []
        return [*before, self]

    def spec(self, data_sha256: str | None = None) -> ModelSpec:
        """How the model of this recipe is built and sampled."""
        sampler, labels = self.objective.sampler, self.training.labels
        facts = self.levels, data_sha256
        least = self.objective.least_level
        return ModelSpec(self.name, self.network, self.preconditioning, sampler, labels, *facts, least_level=least)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        facts = {"objective": self.objective.to_json(), "levels": levels_to_json(self.levels)}
        return asdict(self) | facts | {"earlier": self.earlier and self.earlier.to_json()}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Recipe":
        """The inverse of to_json; what is not said has its default."""
        typed = {
            "objective": build_objective(facts["objective"]),
            "training": TrainingSettings(**facts.get("training", {})),
            "levels": levels_from_json(facts.get("levels", {})),
            "noise": NoiseRange(**facts.get("noise", {})),
        }
        if earlier := facts.get("earlier"):
            typed["earlier"] = cls.from_json(earlier)
        typed |= {name: tuple(facts[name]) for name in ("start_new", "picture_nfe") if name in facts}
        return cls(**{**facts, **typed})

    def trained_for(self, images: int) -> "Recipe":
        """The same recipe with another length of its training."""
        return replace(self, training=replace(self.training, images=images))

    def check_fits(self, space: DataSpace, teacher: "Recipe", workers: int) -> None:
        """Raise ValueError if it cannot be trained on these data, after this teacher's recipe, by so many workers."""
        if self.earlier:
            self.earlier.check_fits(space, teacher, workers)
        with self._named():
            method = self.objective
            self.training.micro_batches(max(1, workers), method.needs_whole_batch, method.group, method.grouped_by)
            if self.training.labels and not space.classes:
                raise InvalidInput(f"training.labels must be false, since the data {space.name} have no labels.")
            if space.kind == "points" and self.training.flips:
                raise InvalidInput(f"training.flips must be false, since {space.name} are points.")
            self.training.augment.check_data(space)
            check_data_of_distance(self.objective.distance, space.shape)
            self._check_encoding(space)
        self.check_labels(teacher)
        with self._named():
            function = self._function(space)
            self.check_student(function)
            if begins_at := {"teacher": teacher, "earlier": self.earlier}.get(self.start):
                whom = "teacher" if self.start == "teacher" else "earlier model"
                check_start(function.network, begins_at._function(space).network, self.start_new, whom)

    def _check_encoding(self, space: DataSpace) -> None:
        """Raise ValueError for settings that are of pixels, where models see latents."""
        if space.encoding == "pixels":
            return
        facts = self.objective.to_json()
        distance = facts.get("distance")
        if str(distance.get("name") if isinstance(distance, dict) else distance).startswith("lpips"):
            raise InvalidInput("objective.distance must not be lpips on latents: it compares images.")
        if facts.get("gan_backbone"):
            raise InvalidInput("objective.gan_backbone must be left out on latents: its features are of images.")
        if self.training.scores_every:
            raise InvalidInput("training.scores_every must be 0 on latents: evaluate scores what was trained on them.")
        if self.training.augment.used:
            raise InvalidInput("training.augment must be left out on latents: flips alone are stored (training.flips).")

    def check_mirrored(self, images: Examples) -> None:
        """Raise ValueError where mirrored images are asked for, and the latents of none are there."""
        if self.training.flips and not images.mirrored:
            raise InvalidInput(
                f"{self.name}: training.flips needs the latents of mirrored images, and {images.folder} has none: "
                "encode the images again with this recipe (kedro run --pipelines=encode)."
            )

    def check_student(self, student: Preconditioner) -> None:
        """Raise ValueError if the student's network lacks what the training tells it, or has parts that stay idle."""
        self.objective.check_student(student)
        augment, width = self.training.augment, student.network.settings.get("augment_dim", 0)
        if augment.used and not self.objective.takes_augmentation:
            raise InvalidInput(
                f"training.augment must be left out: {self.objective.name} does not tell its networks of augmentation."
            )
        if width != augment.columns:
            why = f"tells it of {', '.join(augment.used)}" if augment.used else "transforms no images"
            raise InvalidInput(f"network.augment_dim must be {augment.columns}, got {width}: training.augment {why}.")

    def check_labels(self, teacher: "Recipe") -> None:
        """Raise ValueError if it cannot be trained after this teacher's recipe for what either is told of labels."""
        labels = teacher.training.labels
        if self.earlier:
            self.earlier.check_labels(teacher)
        with self._named():
            self._check_labels(labels, labels and teacher.training.label_dropout > 0)

    def check_teacher(self, space: DataSpace, teacher: SavedModel) -> None:
        """Raise ValueError if it cannot be trained after this teacher, which may be one from elsewhere."""
        with self._named():
            if teacher.space.encoding != space.encoding:
                raise InvalidInput(
                    f"the teacher in {teacher.folder} was trained on {_seen(teacher.space)}, and the student is to be "
                    f"trained on {_seen(space)}: train the teacher again (kedro run --pipelines=teacher)."
                )
            if teacher.spec.provenance.imported and teacher.space.scale != space.scale:
                raise InvalidInput(
                    f"the teacher was trained at scale {teacher.space.scale:g}, and these data have {space.scale:g}: "
                    f"kedro run --pipelines=ingest --params=data.scale={teacher.space.scale:g}"
                )
            self._check_labels(teacher.spec.labels, teacher.spec.knows_no_label)
            if self.start == "teacher":
                with torch.device("meta"):
                    taught_by = build_function(teacher.spec, teacher.space).network
                check_start(self._function(space).network, taught_by, self.start_new)

    def check_model(self, earlier: SavedModel | None, data_sha256: str) -> None:
        """Raise ValueError unless a model is that of the earlier recipe, trained on these data."""
        if self.earlier is None:
            return
        with self._named():
            if earlier is None or earlier.spec.name != self.earlier.name:
                found = f"that is a model of {earlier.spec.name}" if earlier else "none is given"
                raise InvalidInput(f"it goes on from a model of the recipe {self.earlier.name}, and {found}.")
            if earlier.spec.data_sha256 != data_sha256:
                raise InvalidInput(f"the model of {self.earlier.name} in {earlier.folder} was trained on other images.")

    def _check_labels(self, known: bool, hidden: bool) -> None:
        """known, hidden: whether the teacher was trained with labels, and with labels that are hidden at times."""
        if self.training.labels and self.needs_teacher and not known:
            raise InvalidInput("teacher.training.labels must be true if training.labels is.")
        if self.earlier and self.earlier.training.labels != self.training.labels:
            labels = str(self.training.labels).lower()
            raise InvalidInput(f"earlier.training.labels must be {labels}, as training.labels is.")
        begins_with_labels = self.start == "teacher" and not "embed.labels.weight".startswith(self.start_new)
        if known and begins_with_labels and not self.training.labels:
            raise InvalidInput(
                "training.labels must be true, since the teacher has labels and the student starts from its weights: "
                "set student.training.labels=true too, or student.start=scratch."
            )
        guidance = getattr(self.objective, "guidance", 1)
        if guidance != 1 and not (self.training.labels and hidden):
            raise InvalidInput(
                f"objective.guidance is {guidance}, so training.labels must be true and teacher.training.label_dropout "
                "must be above 0: guidance needs a teacher that was also trained without labels."
            )

        if self.objective.guides_itself and not (self.training.labels and self.training.label_dropout > 0):
            raise InvalidInput(
                "the objective guides its own target, so training.labels must be true and training.label_dropout must "
                "be above 0: guidance needs a student that is also trained without labels."
            )

    @contextmanager
    def _named(self) -> Generator[None]:
        """Errors begin with its name."""
        try:
            yield
        except InvalidInput as problem:
            raise InvalidInput(f"{self.name}: {problem}") from None

    def _function(self, space: DataSpace) -> Preconditioner:
        """The preconditioned network, without weights."""
        with torch.device("meta"):
            return build_function(self.spec(), space)


def _seen(space: DataSpace) -> str:
    """What models see of a space, in words."""
    return "pixels" if space.encoding == "pixels" else f"latents (hash {space.encoding[:12]})"
