"""The gate between challenger and champion: thresholds that allow for the noise between seeds.

MLflow's validate_evaluation_results is not used. It reports by an exception with its own text, and apart from `noise`
there is one comparison per threshold.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import fmean

from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.interval import reach
from fewstep.evaluation.results import Evidence
from fewstep.support.checks import above, at_least, between, check_fields, check_value, up_to, whole, within
from fewstep.support.names import check_name

DISTANCES = ("kid", "fid", "wasserstein")
SPEED = "images_per_second"  # its name in a reason


@dataclass(frozen=True)
class Rules:
    """nfe: evaluations an image that a model is judged at. kid_below: so many samples; from there on FID decides.
    confidence: that the challenger is better. keep_recall, keep_speed: of the champion's, at least this share.
    first: what a model has to meet where there is no champion, {kid, fid, wasserstein: at most, recall: at least}.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    nfe: int = 1
    kid_below: int = 10_000
    confidence: float = 0.95
    keep_recall: float = 0.9
    keep_speed: float = 0.7
    first: dict[str, float] = field(default_factory=dict)

    def __post_init__(self):
        share, distance = between(0, 1), up_to(1e6, above(0))
        for name, limit in self.first.items():
            check_name("absolute threshold", name, (*DISTANCES, "recall"))
            check_value(f"first.{name}", limit, share if name == "recall" else distance)
        check_fields(self, nfe=up_to(10_000, whole(at_least(1))), kid_below=up_to(1e9, whole(at_least(0))))
        check_fields(self, confidence=within(0.5, 1), keep_recall=share, keep_speed=share)


@dataclass(frozen=True)
class Threshold:
    """A limit for a score. words: follow the name of the score if a challenger misses the limit."""

    limit: float
    at_least: bool
    words: str = "is {found:.4g}, and at {side} {limit:.4g} is asked"

    def failure(self, name: str, found: float) -> str | None:
        """A sentence if the score misses the limit, else None."""
        if found >= self.limit if self.at_least else found <= self.limit:
            return None
        return f"{name} {self.words.format(found=found, limit=self.limit, side='least' if self.at_least else 'most')}"


def decide(challenger: Evidence, champion: Evidence | None, rules: Rules) -> tuple[bool, str]:
    """Whether the challenger becomes champion, and the reason in words.

    champion: None if there is none. Both have images_per_second, measured on the same machine.
    """
    if problem := _incomparable(challenger, champion):
        return False, problem
    score = decisive(challenger, rules)
    if score is None:
        return False, f"no score decides: there is none of {', '.join(DISTANCES)}"
    if champion is None and (kind := score.partition("_")[0]) not in rules.first:
        return False, f"there is no champion, and no threshold to meet instead: give promotion.first.{kind}"
    if champion is None:
        thresholds, words = _first(challenger, score, rules)
    else:
        thresholds, words = _against(challenger, champion, score, rules)
    means = _means(challenger)
    failures = [failure for name, limit in thresholds.items() if (failure := limit.failure(name, means[name]))]
    return not failures, "; ".join([words, *failures])


def decisive(evidence: Evidence, rules: Rules) -> str | None:
    """The score that decides: KID for few samples, because it is unbiased, FID for many, a distance for points."""
    few = evidence.count < rules.kid_below
    order = ("kid", "fid", "wasserstein") if few else ("fid", "kid", "wasserstein")
    return next((found for kind in order if (found := evidence.named(kind))), None)


def noise(challenger: Sequence[float], champion: Sequence[float], confidence: float) -> float:
    """The least difference between two means over the same seeds that counts: Student's t of the paired differences.

    Never 0: a challenger with the same score is not better.
    """
    # Both models start from the same noise for each seed, so pairing removes the part of the spread that they share.
    differences = [a - b for a, b in zip(challenger, champion, strict=True)]
    return max(reach(differences, confidence), 1e-9 * max(1.0, abs(fmean(champion))))


def _incomparable(challenger: Evidence, champion: Evidence | None) -> str | None:
    for side, name in ((challenger, "it"), (champion, "the champion")):
        if side is None:
            continue
        if not side.full:
            return f"{name} was evaluated over {len(side.seeds)} seeds, and at least {FULL_SEEDS} are needed"
        if odd := side.not_finite:
            return f"{name} has scores that are no numbers: {', '.join(odd)}"
    found = champion and challenger.difference(champion)
    return f"not compared with the champion: {found}" if found else None


def _first(challenger: Evidence, score: str, rules: Rules) -> tuple[dict[str, Threshold], str]:
    limits = {score: rules.first[score.partition("_")[0]]}
    if (recall := challenger.named("recall")) and "recall" in rules.first:
        limits[recall] = rules.first["recall"]
    thresholds = {name: Threshold(limit, at_least=name == recall) for name, limit in limits.items()}
    asked = [f"{name} of at {'least' if name == recall else 'most'} {limit:.4g}" for name, limit in limits.items()]
    words = f"with no champion to beat, what is asked is {' and '.join(asked)}"
    return thresholds, f"{_at(challenger)} its {_shown(challenger, score)}; {words}"


def _against(challenger: Evidence, champion: Evidence, score: str, rules: Rules) -> tuple[dict[str, Threshold], str]:
    gap = noise(challenger.values[score], champion.values[score], rules.confidence)
    limits = {"recall": rules.keep_recall, SPEED: rules.keep_speed}
    theirs = _means(champion)
    thresholds = {score: Threshold(theirs[score] - gap, False, "is not lower by more than the noise")}
    for kind, share in limits.items():
        if name := kind if kind == SPEED else challenger.named(kind):
            thresholds[name] = Threshold(share * theirs[name], at_least=True)
    words = (
        f"{_at(challenger)} its {_shown(challenger, score)}, the champion's {_shown(champion, score)}, and the noise "
        f"of the difference {gap:.2g}"
    )
    return thresholds, words


def _means(evidence: Evidence) -> dict[str, float]:
    assert evidence.images_per_second is not None
    return {**evidence.means, SPEED: evidence.images_per_second}


def _at(evidence: Evidence) -> str:
    return f"at {evidence.nfe} NFE, over {len(evidence.seeds)} seeds of {evidence.count},"


def _shown(evidence: Evidence, score: str) -> str:
    values = evidence.values[score]
    return f"{score} is {fmean(values):.4g} (from {min(values):.4g} to {max(values):.4g})"
