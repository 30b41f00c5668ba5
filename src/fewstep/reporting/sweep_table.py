"""The table of a sweep: a row for each combination of parameters, the best first."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fewstep.evaluation.interval import CONFIDENCE
from fewstep.evaluation.results import Evaluation, Score
from fewstep.reporting.table import aligned, caption, cell

SHOWN = 2  # numbers of evaluations, the fewest


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    values: {parameter: value} that tell it from others, without the seed. model: the name that its scores have.
    scores: None of a training that failed, and note says why. seconds: of the training.
    """

    values: Mapping[str, str]
    seed: str
    model: str
    scores: Evaluation | None
    seconds: float = 0.0
    note: str = ""

    def score(self, nfe: int) -> Score | None:
        """The primary score at so many evaluations; None if there is none."""
        row = self.scores.row_of(self.model, nfe) if self.scores else None
        return row.scores[self.scores.primary] if row and self.scores else None


@dataclass(frozen=True)
class Group:
    """The trials of one combination, which differ in their seeds."""

    outcomes: Sequence[Outcome]

    def score(self, nfe: int) -> Score | None:
        """That of a single trial, or one value for each."""
        found = [score for each in self.outcomes if (score := each.score(nfe))]
        return found[0] if len(found) == 1 else Score(tuple(each.mean for each in found)) if found else None

    @property
    def scored(self) -> list[Outcome]:
        """Those that have scores: a training that diverged has none."""
        return [each for each in self.outcomes if each.scores]

    @property
    def seeds(self) -> str:
        """How many there are, and how many of them have scores: "3", or "2 of 3"."""
        whole, found = len(self.outcomes), len(self.scored)
        return str(whole) if found == whole else f"{found} of {whole}"

    @property
    def note(self) -> str:
        return "; ".join(dict.fromkeys(each.note for each in self.outcomes if each.note))


def headline(outcomes: Sequence[Outcome]) -> float:
    """The primary score of the trials of one combination at the fewest evaluations, lower is better; infinite if one of
    them has no scores.
    """
    nfes, group = _nfes(outcomes), Group(outcomes)
    score = group.score(nfes[0]) if nfes and len(group.scored) == len(outcomes) else None
    return score.mean if score else math.inf


def grouped(outcomes: Sequence[Outcome]) -> list[Group]:
    """Trials of the same values together, the best at the fewest evaluations first, those with failures last."""
    alike: dict[tuple[str, ...], list[Outcome]] = {}
    for each in outcomes:
        alike.setdefault(tuple(each.values.values()), []).append(each)
    groups, (first, *_) = [Group(found) for found in alike.values()], [*_nfes(outcomes), 1]

    def rank(group: Group) -> tuple[int, float]:
        mean = score.mean if (score := group.score(first)) else math.inf
        return len(group.outcomes) - len(group.scored), mean

    return sorted(groups, key=rank)


def sweep_table(outcomes: Sequence[Outcome]) -> str:
    """The scores of each combination with their spread over seeds and the time of a training; then the teacher's."""
    nfes, groups, scored = _nfes(outcomes), grouped(outcomes), [each for each in outcomes if each.scores]
    primary = scored[0].scores.primary if scored and scored[0].scores else "score"
    lines = [[*map(_last, outcomes[0].values), "seeds", *(f"{primary} {nfe} NFE" for nfe in nfes), "seconds"]]
    for group in groups:
        seconds = sum(each.seconds for each in group.outcomes) / len(group.outcomes)
        numbers = [group.seeds, *(cell(group.score(nfe)) for nfe in nfes), f"{seconds:.0f}"]
        lines.append([*group.outcomes[0].values.values(), *numbers])
    found = aligned(lines, text=len(outcomes[0].values))
    failed = [f"{', '.join(group.outcomes[0].values.values())}: {group.note}" for group in groups if group.note]
    return "\n\n".join([*_words(outcomes, scored), found, *failed, *_references(scored)])


def trials_csv(outcomes: Sequence[Outcome]) -> str:
    """A line for each trial, for programs."""
    nfes, file = _nfes(outcomes), io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    primary = next((each.scores.primary for each in outcomes if each.scores), "score")
    writer.writerow([*outcomes[0].values, "seed", *(f"{primary}/nfe_{nfe:02d}" for nfe in nfes), "seconds", "note"])
    for each in outcomes:
        means: list[Any] = [score.mean if (score := each.score(nfe)) else "" for nfe in nfes]
        writer.writerow([*each.values.values(), each.seed, *means, each.seconds, each.note])
    return file.getvalue()


def _nfes(outcomes: Sequence[Outcome]) -> list[int]:
    found = {row.nfe for each in outcomes if each.scores for row in each.scores.usual_rows_of(each.model)}
    return sorted(found)[:SHOWN]


def _words(outcomes: Sequence[Outcome], scored: Sequence[Outcome]) -> list[str]:
    """How the scores were measured, and what ± is."""
    if not scored or scored[0].scores is None:
        return []
    lines = caption(scored[0].scores.measurement, scored[0].scores.floor)
    if len({each.seed for each in outcomes}) > 1:
        lines.append(f"± is half of the {CONFIDENCE:.0%} interval over the seeds of the training")
    return ["\n".join(lines)]


def _references(scored: Sequence[Outcome]) -> list[str]:
    """The teacher's scores by its usual sampler, and those of held-out data."""
    taught = (each for each in scored if each.scores and {row.model for row in each.scores.rows} != {each.model})
    first = next(taught, next(iter(scored), None))
    if first is None or (scores := first.scores) is None:
        return []
    others = dict.fromkeys(row.model for row in scores.rows if row.model != first.model)
    rows = [row for name in others for row in scores.usual_rows_of(name)]
    lines = [[f"{row.model}, {row.sampler}, {row.nfe} NFE", cell(row.scores[scores.primary])] for row in rows]
    if floor := scores.floor.scores.get(scores.primary):
        lines.append(["floor: held-out", cell(floor)])
    return [aligned(lines, text=1)] if lines else []


def _last(name: str) -> str:
    return name.rpartition(".")[2]
