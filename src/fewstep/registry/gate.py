"""What decides between a challenger and the champion: MLflow's validation, with thresholds that know the noise."""

import math
from dataclasses import dataclass, field
from statistics import fmean
from typing import TYPE_CHECKING

from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.interval import reach
from fewstep.evaluation.measured import difference
from fewstep.registry.evidence import SPEED
from fewstep.support.checks import at_least, between, check_fields, within
from fewstep.support.names import check_name

if TYPE_CHECKING:
    from mlflow.models import MetricThreshold

DISTANCES = ("kid", "fid", "wasserstein")


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
        for name in self.first:
            check_name("absolute threshold", name, (*DISTANCES, "recall"))
        share = between(0, 1)
        check_fields(self, nfe=at_least(1), confidence=within(0.5, 1), keep_recall=share, keep_speed=share)


def is_full(evidence: dict | None) -> bool:
    return evidence is not None and len(evidence["seeds"]) >= FULL_SEEDS


def decide(challenger: dict, champion: dict | None, rules: Rules) -> tuple[bool, str]:
    """Whether the challenger becomes champion, and why, in words.

    Both are evidence as `evidence_of` gives it, with images_per_second of one machine. None: no champion.
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
    failures = _failures(thresholds, _means(challenger), champion and _means(champion))
    return not failures, "; ".join([words, *failures])


def decisive(evidence: dict, rules: Rules) -> str | None:
    """The score that decides: KID, which is unbiased, of few samples; FID of many; a distance of points."""
    few = evidence["count"] < rules.kid_below
    order = ("kid", "fid", "wasserstein") if few else ("fid", "kid", "wasserstein")
    return next((found for kind in order if (found := _named(evidence, kind))), None)


def noise(challenger: list[float], champion: list[float], confidence: float) -> float:
    """How far apart two models' means over the same seeds have to be: Student's t of the paired differences.

    Never 0: who scores the same is not better.
    """
    differences = [a - b for a, b in zip(challenger, champion, strict=True)]
    return max(reach(differences, confidence), 1e-9 * max(1.0, abs(fmean(champion))))


def _incomparable(challenger: dict, champion: dict | None) -> str | None:
    for side, name in ((challenger, "it"), (champion, "the champion")):
        if side is None:
            continue
        if not is_full(side):
            return f"{name} was evaluated over {len(side['seeds'])} seeds, and at least {FULL_SEEDS} are needed"
        if odd := [n for n, values in side["values"].items() if not all(map(math.isfinite, values))]:
            return f"{name} has scores that are no numbers: {', '.join(odd)}"
    found = champion and difference(challenger, champion)
    return f"not compared with the champion: {found}" if found else None


def _first(challenger: dict, score: str, rules: Rules) -> tuple[dict, str]:
    from mlflow.models import MetricThreshold

    limits = {score: rules.first[score.partition("_")[0]]}
    if (recall := _named(challenger, "recall")) and "recall" in rules.first:
        limits[recall] = rules.first["recall"]
    thresholds = {
        name: MetricThreshold(threshold=float(limit), greater_is_better=name == recall)
        for name, limit in limits.items()
    }
    asked = [f"{name} of at {'least' if name == recall else 'most'} {limit:.4g}" for name, limit in limits.items()]
    words = f"with no champion to beat, what is asked is {' and '.join(asked)}"
    return thresholds, f"{_at(challenger)} its {_shown(challenger, score)}; {words}"


def _against(challenger: dict, champion: dict, score: str, rules: Rules) -> tuple[dict, str]:
    from mlflow.models import MetricThreshold

    gap = noise(challenger["values"][score], champion["values"][score], rules.confidence)
    limits = {"recall": rules.keep_recall, SPEED: rules.keep_speed}
    theirs = _means(champion)
    thresholds = {score: MetricThreshold(min_absolute_change=gap, greater_is_better=False)}
    for kind, share in limits.items():
        if name := kind if kind == SPEED else _named(challenger, kind):
            thresholds[name] = MetricThreshold(threshold=share * theirs[name], greater_is_better=True)
    words = (
        f"{_at(challenger)} its {_shown(challenger, score)}, the champion's {_shown(champion, score)}, and the noise "
        f"of the difference {gap:.2g}"
    )
    return thresholds, words


def _failures(thresholds: "dict[str, MetricThreshold]", candidate: dict, baseline: dict | None) -> list[str]:
    """What MLflow's validation does not let pass, in words."""
    import mlflow
    from mlflow.models import EvaluationResult
    from mlflow.models.evaluation.validation import ModelValidationFailedException

    results = [EvaluationResult(metrics, {}, run_id="") if metrics else None for metrics in (candidate, baseline)]
    failures = []
    for name, threshold in thresholds.items():
        try:
            mlflow.validate_evaluation_results({name: threshold}, *results)
        except ModelValidationFailedException:
            failures.append(_told(name, threshold, candidate[name]))
    return failures


def _told(name: str, threshold: "MetricThreshold", found: float) -> str:
    if threshold.threshold is None:
        return f"{name} is not lower by more than the noise"
    side = "least" if threshold.greater_is_better else "most"
    return f"{name} is {found:.4g}, and at {side} {threshold.threshold:.4g} is asked"


def _means(evidence: dict) -> dict[str, float]:
    return {**{name: fmean(v) for name, v in evidence["values"].items()}, SPEED: evidence[SPEED]}


def _named(evidence: dict, kind: str) -> str | None:
    """The full name of a kind of score: kid_digits of kid."""
    return next((name for name in evidence["values"] if name.partition("_")[0] == kind), None)


def _at(evidence: dict) -> str:
    return f"at {evidence['nfe']} NFE, over {len(evidence['seeds'])} seeds of {evidence['count']},"


def _shown(evidence: dict, score: str) -> str:
    values = evidence["values"][score]
    return f"{score} is {fmean(values):.4g} (from {min(values):.4g} to {max(values):.4g})"
