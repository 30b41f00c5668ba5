"""The full evaluation that a version needs before the gate decides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fewstep.console import progress_bar

if TYPE_CHECKING:
    from fewstep.data.store import ArrayStore
    from fewstep.evaluation.features import Extractor
    from fewstep.evaluation.results import Evaluation, Measurement
    from fewstep.models.model import Model
    from fewstep.networks.execution import Execution


@dataclass(frozen=True)
class Exam:
    """How a version without a full evaluation gets one.

    measured: how it is measured. scores: (model, nfe) -> the evaluation of the model. speeds: (models, nfe) -> images
    per second of each, measured side by side on this machine. precision: of the passes that make the samples.
    """

    measured: "Measurement"
    scores: "Callable[[Model, int], Evaluation]"
    speeds: "Callable[[Sequence[Model], int], Sequence[float]]"
    precision: str = "fp32"


def make_exam(
    images: "ArrayStore",
    extractor: "Extractor | None",
    count: int,
    seeds: Sequence[int],
    batch_size: int,
    execution: "Execution",
) -> Exam:
    """A full evaluation on these images: `count` samples for each seed, which are made so."""
    # Serving reads versions through this package, and needs none of what evaluation imports.
    from fewstep.evaluation.ladder import evaluate, measurement_of
    from fewstep.evaluation.sampling import sampling_settings
    from fewstep.evaluation.speed import compare_speeds

    sizes = {"count": count, "seeds": list(seeds)}

    def scores(model: "Model", nfe: int) -> "Evaluation":
        with progress_bar(f"evaluate {model.spec.name}") as bar:
            settings = sampling_settings(model.run_by(execution), model.samplers[0], [nfe])
            return evaluate(settings, images, extractor, **sizes, batch_size=batch_size, on_progress=bar)

    def speeds(models: "Sequence[Model]", nfe: int) -> list[float]:
        return compare_speeds([model.run_by(execution) for model in models], nfe, batch_size)

    return Exam(measurement_of(images, extractor, **sizes), scores, speeds, execution.precision)
