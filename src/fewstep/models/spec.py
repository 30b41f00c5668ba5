"""What describes a model: how it is built and sampled, and where its weights come from. The head of its model.json."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from fewstep.diffusion.levels import SIGMA_MAX
from fewstep.support.checks import (
    at_least,
    between,
    check_fields,
    file_name,
    finite,
    inside,
    instance_of,
    optional,
    text,
)

LABEL_DROPOUT = 0.1  # where a model.json does not say it
Levels = dict[int, tuple[float, ...]]  # {NFE: the noise levels after the first}


def _guidance_of(objective: Any, _owner: Any = None) -> str | None:
    """A check of an objective: what it says of guidance is none, a strength, or the ends of their range."""
    given = objective.get("guidance") if isinstance(objective, Mapping) else None
    if isinstance(given, list | tuple):
        wrong = len(given) != 2 or any(map(finite, given)) or given[0] > given[1]
    else:
        wrong = given is not None and finite(given)
    return "a section whose guidance is a number, or a list of two, the lower one first" if wrong else None


def _dropout_of(training: Any, _owner: Any = None) -> str | None:
    """A check of a training: how often it hid labels is a share."""
    given = training.get("label_dropout", LABEL_DROPOUT) if isinstance(training, Mapping) else LABEL_DROPOUT
    return "a section whose label_dropout is between 0 and 1" if between(0, 1)(given) else None


@dataclass(frozen=True)
class Provenance:
    """Where weights come from. Only teacher_sha256 is known of every model; None of a model without a teacher.

    run: the folder of the training below runs/. images: seen in training, repetitions counted. seconds: of the
    training. parameters: their number. objective, training: their settings, as JSON. earlier: of the model that was
    trained before this one and had a part in it: its name and sha256, and its own provenance. source, source_sha256:
    the file that a model from elsewhere was imported from. more: what a file written by another version says beside
    these.
    """

    run: str | None = None
    images: int | None = None
    seconds: float | None = None
    parameters: int | None = None
    objective: dict[str, Any] | None = None
    training: dict[str, Any] | None = None
    start: str | None = None
    start_new: tuple[str, ...] | None = None
    teacher_sha256: str | None = None
    seed: int | None = None
    earlier: dict[str, Any] | None = None
    source: str | None = None
    source_sha256: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        check_fields(self, run=optional(file_name))
        check_fields(self, objective=_guidance_of, training=_dropout_of)
        number, words, section = optional(at_least(0)), optional(text), optional(instance_of(Mapping, "a section"))
        check_fields(self, images=number, seconds=number, parameters=number, seed=number, start=words, source=words)
        check_fields(
            self, objective=section, training=section, earlier=section, teacher_sha256=words, source_sha256=words
        )
        check_fields(self, start_new=optional(instance_of(tuple, "a list")))

    @property
    def imported(self) -> bool:
        """Whether the weights were trained elsewhere."""
        return self.source is not None

    @property
    def stages(self) -> list["Provenance"]:
        """The trainings that the weights went through, in their order: each began where the one before it ended."""
        before = self.from_json(self.earlier).stages if self.earlier and self.start == "earlier" else []
        return [*before, self]

    def to_json(self) -> dict[str, Any]:
        """What is known, ready for JSON."""
        known = {key: value for key, value in asdict(self).items() if value is not None and key != "more"}
        return {"teacher_sha256": None, **self.more, **known}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Provenance":
        """The inverse of to_json."""
        names = {f.name for f in fields(cls)} - {"more"}
        known = {key: value for key, value in facts.items() if key in names}
        if known.get("start_new") is not None:
            known["start_new"] = tuple(known["start_new"])
        return cls(**known, more={key: value for key, value in facts.items() if key not in names})


UNSAID = ("sampler", "least_level")  # of a description, where there is none


@dataclass(frozen=True)
class ModelSpec:
    """How a model is built and sampled.

    name: of its recipe. network, preconditioning: {name, ...arguments} of build_network and build_preconditioner.
    sampler: the usual one; None: the first that its preconditioner has. labels: class-conditional. levels: {NFE: noise
    levels after the first} of the usual sampler, where they are not the default. data_sha256: of the data that it was
    trained on; None where they are not known. least_level: below which it is not to be called, where its method trains
    it no further down than that.
    """

    name: str
    network: dict[str, Any]
    preconditioning: dict[str, Any]
    sampler: str | None = None
    labels: bool = False
    levels: Levels = field(default_factory=dict)
    data_sha256: str | None = None
    provenance: Provenance = Provenance()
    least_level: float | None = None

    def __post_init__(self):
        section = instance_of(Mapping, "a section with a name")
        check_fields(self, name=file_name, network=section, preconditioning=section, sampler=optional(text))
        check_fields(self, labels=instance_of(bool, "true or false"), data_sha256=optional(text), levels=_levels)
        check_fields(self, least_level=optional(inside(0, SIGMA_MAX)))

    @property
    def knows_no_label(self) -> bool:
        """Whether it was trained with labels that were hidden at times; False where its origin does not say."""
        training = self.provenance.training
        hidden = 0.0 if training is None else training.get("label_dropout", LABEL_DROPOUT)
        return self.labels and hidden > 0

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON, whose keys are words."""
        facts = {f.name: getattr(self, f.name) for f in fields(self)}
        facts |= {"levels": levels_to_json(self.levels), "provenance": self.provenance.to_json()}
        return {key: value for key, value in facts.items() if key not in UNSAID or value is not None}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "ModelSpec":
        """The inverse of to_json; keys that are no field are left out."""
        known = {f.name: facts[f.name] for f in fields(cls) if f.name in facts}
        known["levels"] = levels_from_json(facts.get("levels", {}))
        known["provenance"] = Provenance.from_json(facts.get("provenance", {}))
        return cls(**known)

    def at_levels(self, levels: Levels) -> "ModelSpec":
        """The same model, sampled at other levels."""
        return replace(self, levels=levels)


def _levels(value: Any, _owner: Any = None) -> str | None:
    """A check of Levels."""
    if not isinstance(value, Mapping) or not all(type(nfe) is int and nfe >= 1 for nfe in value):
        return "noise levels by NFE"
    numbers = between(0, SIGMA_MAX, open_low=True)
    allowed = next(filter(None, (numbers(level) for levels in value.values() for level in levels)), None)
    return allowed and f"{allowed} each"


def levels_to_json(levels: Levels) -> dict[str, list[float]]:
    """{NFE: levels} with words for keys."""
    return {str(nfe): list(found) for nfe, found in levels.items()}


def levels_from_json(levels: Mapping[str, Any]) -> Levels:
    """The inverse of levels_to_json."""
    return {int(nfe): tuple(found) for nfe, found in levels.items()}
