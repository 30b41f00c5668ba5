"""Scores of a student, and of its teacher, at every number of evaluations, and pictures of them."""

from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from fewstep.config.parameters import EvaluationParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import evaluate
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import SamplingSetting, journey_settings
from fewstep.evaluation.search import kept_levels
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.table import scores_table

SHOWN, REAL = 16, 2000


def score_models(
    images: ArrayStore,
    extractor: Extractor | None,
    teacher: SavedModel | None,
    student: SavedModel,
    evaluation: EvaluationParameters,
    workplace: Workplace,
):
    """Scores (for people and for DVC), the student's levels, the sample sheet, and quality against evaluations.

    A student without a teacher is scored alone.
    """
    taught_by, seeds = teacher_of(student, teacher), evaluation.full_seeds if evaluation.full else evaluation.seeds
    levels, loaded = _levels(images, extractor, student, evaluation, workplace)
    master = taught_by.load() if taught_by else None
    shown: list[tuple[str, np.ndarray]] = []

    def keep(setting: SamplingSetting, seed: int, samples: np.ndarray):
        if seed == seeds[0]:
            shown.append((f"{setting.model} {setting.sampler}\n{setting.nfe} NFE", samples))

    settings = journey_settings(loaded, master, evaluation.student_nfe, evaluation.teacher_nfe, evaluation.gammas)
    sizes: dict[str, Any] = {"count": evaluation.count, "seeds": seeds, "batch_size": evaluation.batch_size}
    with progress_bar("evaluate") as bar:
        found = evaluate(settings, images, extractor, **sizes, on_progress=bar, on_samples=keep)
    models = {model.spec.name: model.sha256 for model in (loaded, master) if model}
    scores = replace(found, levels=evaluation.levels, models=models)
    print(f"\n{scores_table(scores)}\n", flush=True)
    sheet = draw_rows(shown, images.space.name, SHOWN, images.images("train")[:REAL])
    metrics = {name: scores.means_of(name) for name in models}
    return scores, metrics, levels, sheet, ladder_plot(scores)


def _levels(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    evaluation: EvaluationParameters,
    workplace: Workplace,
) -> tuple[StudentLevels, Model]:
    """The levels at which the student is scored, and the student at them."""
    model = student.load()
    if evaluation.levels == "recipe":
        return StudentLevels.of_recipe(student), model
    file = workplace.run_folder(student) / "search.json"
    sizes = evaluation.student_nfe, evaluation.search_count, file, evaluation.batch_size
    with progress_bar(f"levels of {student.spec.name}") as bar:
        found = kept_levels(model, images, extractor, *sizes, on_progress=bar)
    return StudentLevels(student.sha256, found, True), model.at_levels(found)


def track_scores(
    scores: Evaluation,
    student: SavedModel,
    teacher: SavedModel | None,
    sheet: Image.Image,
    ladder: Image.Image,
    workplace: Workplace,
) -> None:
    """Scores and pictures, on the MLflow runs that trained the models."""
    for model in filter(None, (teacher, student)):
        if model.spec.name in scores.models:
            workplace.run_of(model).log_scores(scores.means_of(model.spec.name))
            workplace.attach(model, sheet=sheet, ladder=ladder)
