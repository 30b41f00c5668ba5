"""The full evaluation that a version has to have before the gate decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewstep.console import progress_bar

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.features import Extractor
    from fewstep.models.model import Model


@dataclass(frozen=True)
class Exam:
    """How a version is evaluated in full where it was not yet.

    measured: data_sha256, extractor_sha256, count and seeds of it. scores: (model, nfe) -> a scores.json of the model.
    speeds: (models, nfe) -> images a second of each, side by side on this machine.
    """

    measured: dict
    scores: Callable[["Model", int], dict]
    speeds: Callable[[Sequence["Model"], int], Sequence[float]]


def make_exam(
    images: "ArrayStore", extractor: "Extractor | None", count: int, seeds: Sequence[int], batch_size: int
) -> Exam:
    """A full evaluation on these images: `count` samples for each seed."""
    # Serving reads versions through this package, and needs none of what evaluation imports.
    from fewstep.evaluation.ladder import evaluate, rungs_of
    from fewstep.evaluation.speed import compare_speeds

    sizes = {"count": count, "seeds": list(seeds)}

    def scores(model, nfe: int) -> dict:
        with progress_bar(f"evaluate {model.spec.name}") as bar:
            rungs = rungs_of(model, model.samplers[0], [nfe])
            return evaluate(rungs, images, extractor, **sizes, batch_size=batch_size, on_progress=bar)

    def speeds(models: Sequence, nfe: int) -> list[float]:
        return compare_speeds(models, nfe, batch_size)

    hashes = {"data_sha256": images.sha256, "extractor_sha256": extractor.sha256 if extractor else None}
    return Exam({**hashes, **sizes}, scores, speeds)
