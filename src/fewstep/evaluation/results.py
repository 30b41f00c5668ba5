"""Scores as types, with one way to and from JSON (scores.json; its layout is in docs/evaluation.md)."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.interval import interval
from fewstep.networks.execution import PLAIN, Execution
from fewstep.support.errors import InvalidInput
from fewstep.support.tensor_files import seal

FORMAT = 2  # of the JSON: sealed since 2; files without a number are of the first layout, which had no primary score
SOME = 10_000  # images that precision and recall looked at in earlier versions, at most
COMPARED = {
    "data_sha256": "data hash",
    "extractor": "extractor",
    "extractor_sha256": "extractor",
    "split": "split",
    "count": "sample count",
    "seeds": "set of seeds",
    "nfe": "NFE",
    "whole": "number of images that precision and recall look at",
    "precision": "precision in which samples are made",
}


def differing(one: object, other: object, names: Sequence[str]) -> str | None:
    """The first of these attributes that differs between two measurements, in words; None if they agree."""
    for name in names:
        if (here := getattr(one, name)) != (there := getattr(other, name)):
            return f"the {COMPARED[name]} differs ({_short(here)} here, {_short(there)} there)"
    return None


def _short(value: object) -> str:
    return value[:16] if isinstance(value, str) else str(list(value) if isinstance(value, tuple) else value)


@dataclass(frozen=True)
class ExtractorId:
    """Which feature extractor: its name and the sha256 of its weights."""

    name: str
    sha256: str

    def __str__(self) -> str:
        return f"{self.name} {self.sha256[:8]}"


@dataclass(frozen=True)
class Measurement:
    """How scores are measured.

    split: of the data, which samples are compared with. extractor: None for points. count: samples of each seed.
    references: {evaluator: sha256 of the file of its reference}. whole: precision and recall look at all of more than
    SOME images, as earlier versions did not.
    """

    dataset: str
    data_sha256: str
    split: str
    extractor: ExtractorId | None
    count: int
    seeds: tuple[int, ...]
    references: Mapping[str, str] = field(default_factory=dict)
    whole: bool = False

    @property
    def provisional(self) -> bool:
        """Whether there are fewer seeds than in a full evaluation."""
        return len(self.seeds) < FULL_SEEDS

    @property
    def extractor_sha256(self) -> str | None:
        return self.extractor.sha256 if self.extractor else None

    def difference(self, other: "Measurement") -> str | None:
        """Why scores measured in these two ways cannot be compared, in words; None if they can."""
        for name in self.references.keys() & other.references.keys():
            if (here := self.references[name]) != (there := other.references[name]):
                return f"the reference of fid_{name} differs ({_short(here)} here, {_short(there)} there)"
        return differing(self, other, ("data_sha256", "extractor", "split", "count", "seeds", "whole"))

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        facts = {**asdict(self), "seeds": list(self.seeds), "provisional": self.provisional}
        return {key: value for key, value in facts.items() if value or key not in ("references", "whole")}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Measurement":
        """The inverse of to_json."""
        extractor = ExtractorId(**facts["extractor"]) if facts["extractor"] else None
        named = {name: facts[name] for name in ("dataset", "data_sha256", "count")}
        return cls(
            **named,
            split=facts.get("split", "train"),
            extractor=extractor,
            seeds=tuple(facts["seeds"]),
            references=facts.get("references", {}),
            whole=facts.get("whole", False),
        )


@dataclass(frozen=True)
class Score:
    """One value per seed.

    same_samples: every seed scored the same samples, so the spread of the values says nothing about other samples.
    """

    values: tuple[float, ...]
    same_samples: bool = False

    @property
    def mean(self) -> float:
        return float(np.mean(self.values))

    @property
    def interval(self) -> list[float] | None:
        """[low, high] around the mean by Student's t; None for a single value, or for the same samples."""
        return None if self.same_samples else interval(self.values)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON, with mean and interval."""
        return {"mean": self.mean, "interval": self.interval, "values": list(self.values)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Score":
        """The inverse of to_json. Mean and interval are those of the values, whatever the file says."""
        found = cls(tuple(float(value) for value in facts["values"]))
        return replace(found, same_samples=found.interval is not None and facts.get("interval") is None)


Scores = dict[str, Score]  # {fid_digits: ..., recall_digits: ...}


def scores_of(values: Sequence[Mapping[str, float]], same_samples: bool = False) -> Scores:
    """{name: score} of one mapping {name: value} per seed."""
    return {name: Score(tuple(float(of[name]) for of in values), same_samples) for name in values[0]}


def _scores_to_json(scores: Scores) -> dict[str, Any]:
    return {name: score.to_json() for name, score in scores.items()}


def _scores_from_json(facts: Mapping[str, Any]) -> Scores:
    return {name: Score.from_json(score) for name, score in facts.items()}


@dataclass(frozen=True)
class Row:
    """One model, by one sampler, at one number of network evaluations (NFE).

    nfe: 0 of samples that were given. levels: noise levels of the sampler. images_per_second: None of samples that were
    given. execution: how the passes of the network ran.
    """

    model: str
    sampler: str
    nfe: int
    levels: tuple[float, ...]
    scores: Scores
    images_per_second: float | None
    execution: Execution = PLAIN

    @property
    def way(self) -> str:
        """The sampler, and how the passes ran if that was not the usual way."""
        return self.sampler if self.execution == PLAIN else f"{self.sampler}, {self.execution}"

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        named = {"model": self.model, "sampler": self.sampler, "nfe": self.nfe, "levels": list(self.levels)}
        named |= {"scores": _scores_to_json(self.scores), "images_per_second": self.images_per_second}
        return named if self.execution == PLAIN else {**named, "execution": asdict(self.execution)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Row":
        """The inverse of to_json."""
        named = {name: facts[name] for name in ("model", "sampler", "nfe", "images_per_second")}
        levels, execution = tuple(facts.get("levels", ())), Execution(**facts.get("execution", {}))
        return cls(**named, levels=levels, scores=_scores_from_json(facts["scores"]), execution=execution)


@dataclass(frozen=True)
class Floor:
    """Scores of held-out data, none where these are too few. count: of them for each seed. note: what to keep in mind
    when comparing with it.
    """

    count: int
    scores: Scores
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        note = {"note": self.note} if self.note else {}
        return {"count": self.count, "scores": _scores_to_json(self.scores), **note}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Floor":
        """The inverse of to_json."""
        return cls(facts["count"], _scores_from_json(facts["scores"]), facts.get("note"))


@dataclass(frozen=True)
class TrainingBudget:
    """What each training of a comparison was allowed: so many images, passes, seconds or steps."""

    unit: str
    amount: float

    def __str__(self) -> str:
        return f"{self.amount:,g} {self.unit}"


@dataclass(frozen=True)
class Evaluation:
    """Scores of one or several models, measured in one way, beside those of held-out data.

    primary: the name of the score that ranks models and decides. rows: those of one model are adjacent, its usual
    sampler first. levels: "recipe" or "search", how the noise levels of a student were chosen; None if there was no
    choice. models: {name: sha256 of the weights}, if known. budget: of the trainings in a comparison. autoencoder: the
    floor of models on latents, held-out data that were encoded and decoded.
    """

    measurement: Measurement
    primary: str
    rows: tuple[Row, ...]
    floor: Floor
    levels: str | None = None
    models: Mapping[str, str] = field(default_factory=dict)
    budget: TrainingBudget | None = None
    autoencoder: Floor | None = None

    @property
    def provisional(self) -> bool:
        """Whether there are fewer seeds than a full evaluation has, or no held-out data to compare with."""
        return self.measurement.provisional or not self.floor.scores

    def rows_of(self, model: str) -> list[Row]:
        """The rows of a model with every sampler. Raises ValueError if there are none."""
        if not (found := [row for row in self.rows if row.model == model]):
            known = ", ".join(sorted({row.model for row in self.rows}))
            raise InvalidInput(
                f"there are no scores of {model!r} here, only of {known or 'no model'}: evaluate it first"
            )
        return found

    def usual_rows_of(self, model: str) -> list[Row]:
        """The rows of a model by its usual sampler, which comes first."""
        rows = self.rows_of(model)
        return [row for row in rows if row.sampler == rows[0].sampler]

    def row_of(self, model: str, nfe: int) -> Row | None:
        """The row of a model by its usual sampler at this NFE, if it was evaluated there."""
        return next((row for row in self.usual_rows_of(model) if row.nfe == nfe), None)

    def means_of(self, model: str) -> dict[str, float]:
        """The means of a model's scores under flat names: {"fid_digits/nfe_01": 26.1, "fid_digits/floor": ...}.

        A teacher's Euler rows are "fid_digits/euler_nfe_01", so that nfe_NN is each model by its usual sampler.
        """
        usual, flat = self.usual_rows_of(model), {}
        for row in self.rows_of(model):
            at = f"{'' if row in usual else f'{row.sampler}_'}nfe_{row.nfe:02d}"
            flat |= _flat_means(row.scores, at) | {f"{SAMPLING_SPEED}/{at}": row.images_per_second}
        decoded = _flat_means(self.autoencoder.scores, "autoencoder") if self.autoencoder else {}
        return flat | _flat_means(self.floor.scores, "floor") | decoded

    def joined(self, *others: "Evaluation") -> "Evaluation":
        """These evaluations as one, with the rows of all. Raises ValueError that names what differs between them."""
        for other in others:
            if found := self.measurement.difference(other.measurement):
                raise InvalidInput(incomparable(_first_model(self), _first_model(other), found))
        every = (self, *others)
        models = {name: sha256 for one in every for name, sha256 in one.models.items()}
        return replace(self, rows=tuple(row for one in every for row in one.rows), models=models)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON."""
        facts = {
            "format": FORMAT,
            **self.measurement.to_json(),
            "provisional": self.provisional,
            "primary": self.primary,
            "floor": self.floor.to_json(),
            "rows": [row.to_json() for row in self.rows],
            "models": dict(self.models),
        }
        facts |= {"levels": self.levels} if self.levels else {}
        facts |= {"budget": asdict(self.budget)} if self.budget else {}
        facts |= {"autoencoder": self.autoencoder.to_json()} if self.autoencoder else {}
        return {**facts, "seal": seal(facts)}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Evaluation":
        """The inverse of to_json; files of the layouts before it are read too.

        Raises ValueError for what is no evaluation, was changed after it was measured, or is from a newer version.
        """
        check_format(facts, "scores", FORMAT)
        if isinstance(facts, Mapping) and facts.get("format") == FORMAT:
            check_seal(facts)
        try:
            measurement = Measurement.from_json(facts)
            rows = tuple(Row.from_json(row) for row in facts["rows"])
            return cls(
                measurement,
                facts.get("primary") or primary_score(measurement.extractor and measurement.extractor.name),
                rows,
                Floor.from_json(facts["floor"]),
                facts.get("levels"),
                facts.get("models") or _single_model(facts, rows),
                TrainingBudget(**facts["budget"]) if facts.get("budget") else None,
                Floor.from_json(facts["autoencoder"]) if facts.get("autoencoder") else None,
            )
        except (KeyError, TypeError, AttributeError) as problem:
            why = f"{problem.args[0]} is missing" if isinstance(problem, KeyError) else "a value is of another kind"
            raise InvalidInput(f"these are no scores as scores.json has them: {why}") from problem


SAMPLING_SPEED = "sampling_images_per_second"  # among flat names, beside the training's


def primary_score(extractor: str | None) -> str:
    """The score that ranks models: FID with an extractor of this name, or the Wasserstein distance for points."""
    return f"fid_{extractor}" if extractor else "wasserstein"


def incomparable(here: str, there: str, difference: str) -> str:
    """The sentence for scores of two models that were measured differently."""
    return f"scores of {here} (here) and of {there} (there) cannot be compared: {difference}. Evaluate both again."


def check_format(facts: Mapping[str, Any], what: str, newest: int) -> None:
    """Raise ValueError if JSON was written by a newer version."""
    number = facts.get("format", 0) if isinstance(facts, Mapping) else 0
    if number not in range(newest + 1):
        raise InvalidInput(f"{what} of format {number}, from a newer version of Fewstep: this one reads up to {newest}")


def check_seal(facts: Mapping[str, Any]) -> None:
    """Raise ValueError if scores are not those that were written."""
    if facts.get("seal") != seal({name: value for name, value in facts.items() if name != "seal"}):
        raise InvalidInput("these scores were changed after they were measured: their seal differs")


def _flat_means(scores: Scores, at: str) -> dict[str, float]:
    return {f"{name}/{at}": score.mean for name, score in scores.items()}


def _first_model(evaluation: Evaluation) -> str:
    return evaluation.rows[0].model


def _single_model(facts: Mapping[str, Any], rows: Sequence[Row]) -> dict[str, str]:
    """The model of a comparison's scores in the layout before, which had its hash alone."""
    return {rows[0].model: facts["model_sha256"]} if "model_sha256" in facts else {}


@dataclass(frozen=True)
class Evidence:
    """What the gate looks at: the scores of a model by its usual sampler at one NFE, and how they were measured.

    values: {score: one value per seed}. images_per_second: of one machine for both sides, where it was measured.
    precision: of the passes that made the samples.
    """

    data_sha256: str
    extractor_sha256: str | None
    count: int
    seeds: tuple[int, ...]
    nfe: int
    values: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    images_per_second: float | None = None
    precision: str = PLAIN.precision

    @classmethod
    def of(cls, evaluation: Evaluation, model: str, nfe: int) -> "Evidence | None":
        """The evidence on a model in an evaluation; None if it was not evaluated at this NFE."""
        row = evaluation.row_of(model, nfe)
        if row is None:
            return None
        values = {name: score.values for name, score in row.scores.items()}
        return replace(cls.expected(evaluation.measurement, nfe, row.execution.precision), values=values)

    @classmethod
    def expected(cls, measurement: Measurement, nfe: int, precision: str = PLAIN.precision) -> "Evidence":
        """The evidence that a measurement would give, without values."""
        found = measurement
        of = found.data_sha256, found.extractor_sha256, found.count, found.seeds, nfe
        return cls(*of, precision=precision)

    @property
    def full(self) -> bool:
        """Whether there are as many seeds as a full evaluation has."""
        return len(self.seeds) >= FULL_SEEDS

    @property
    def means(self) -> dict[str, float]:
        """{score: its mean over seeds}."""
        return {name: Score(values).mean for name, values in self.values.items()}

    @property
    def not_finite(self) -> list[str]:
        """The scores with a value that is no finite number."""
        return [name for name, values in self.values.items() if not all(map(math.isfinite, values))]

    def difference(self, other: "Evidence") -> str | None:
        """Why the two cannot be compared, in words; None if they can."""
        return differing(self, other, ("data_sha256", "extractor_sha256", "count", "seeds", "nfe", "precision"))

    def named(self, kind: str) -> str | None:
        """The full name of a kind of score: kid_digits of kid."""
        return next((name for name in self.values if name.partition("_")[0] == kind), None)

    def to_json(self) -> dict[str, Any]:
        """Ready for JSON; the speed is not kept."""
        facts = {"data_sha256": self.data_sha256, "count": self.count, "seeds": list(self.seeds)}
        facts |= {"extractor_sha256": self.extractor_sha256, "nfe": self.nfe}
        facts |= {} if self.precision == PLAIN.precision else {"precision": self.precision}
        return facts | {"values": {name: list(values) for name, values in self.values.items()}}

    @classmethod
    def from_json(cls, facts: Mapping[str, Any]) -> "Evidence":
        """The inverse of to_json."""
        values = {name: tuple(found) for name, found in facts["values"].items()}
        named = {name: facts[name] for name in ("data_sha256", "extractor_sha256", "count", "nfe")}
        precision = facts.get("precision", PLAIN.precision)
        return cls(**named, seeds=tuple(facts["seeds"]), values=values, precision=precision)
