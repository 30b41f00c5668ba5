"""Lets the gate decide whether a registered version becomes champion."""

import time
from collections.abc import Sequence

from fewstep.config.parameters import EvaluationParameters, PromotionParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import evaluate, measurement_of
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import sampling_settings
from fewstep.registry import Exam, history, promote
from fewstep.tracking import Store

ROUNDS = 5


def promote_version(
    images: ArrayStore,
    extractor: Extractor | None,
    registry: Store,
    promotion: PromotionParameters,
    evaluation: EvaluationParameters,
) -> dict:
    """The moves of the champion, this one's among them if there was one; says why or why not."""
    name, exam = f"fewstep-{images.space.name}", make_exam(images, extractor, evaluation)
    made = promote(registry, name, exam, promotion.rules, promotion.version)
    print(f"\n{name} version {made['version']}: {'promoted' if made['promoted'] else 'refused'}; {made['reason']}.")
    return {"name": name, "moves": history(registry, name)}


def make_exam(images: ArrayStore, extractor: Extractor | None, evaluation: EvaluationParameters) -> Exam:
    """A full evaluation on these images."""
    sizes = {"count": evaluation.count, "seeds": list(evaluation.full_seeds)}

    def scores(model, nfe: int) -> Evaluation:
        with progress_bar(f"evaluate {model.spec['name']}") as bar:
            settings = sampling_settings(model, model.samplers[0], [nfe])
            return evaluate(settings, images, extractor, **sizes, batch_size=evaluation.batch_size, on_progress=bar)

    def speeds(models: Sequence, nfe: int) -> list[float]:
        return race(models, nfe, evaluation.batch_size)

    return Exam(measurement_of(images, extractor, **sizes), scores, speeds)


def race(models: Sequence, nfe: int, batch_size: int) -> list[float]:
    """Images a second of each, by turns, so that a busy machine is as busy for all; the best of several rounds."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(ROUNDS):
        for model, taken in zip(models, times, strict=True):
            started = time.perf_counter()
            model.sample(nfe, 0, range(batch_size))
            taken.append(time.perf_counter() - started)
    return [batch_size / min(taken) for taken in times]
