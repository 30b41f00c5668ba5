"""Lets the gate decide whether a registered version becomes champion."""

from fewstep.config.parameters import EvaluationParameters, PromotionParameters
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.registry import history, make_exam, promote, registered_name
from fewstep.tracking import Backend


def promote_version(
    images: ArrayStore,
    extractor: Extractor | None,
    registry: Backend,
    promotion: PromotionParameters,
    evaluation: EvaluationParameters,
) -> dict:
    """The moves of the champion, this one's among them if there was one; says why or why not."""
    name = registered_name(registry, images.space.name)
    sizes = evaluation.count, evaluation.full_seeds, evaluation.batch_size
    exam = make_exam(images, extractor, *sizes, evaluation.execution)
    made = promote(registry, name, exam, promotion.rules, promotion.version)
    print(f"\n{name} version {made['version']}: {'promoted' if made['promoted'] else 'refused'}; {made['reason']}.")
    return {"name": name, "moves": history(registry, name)}
