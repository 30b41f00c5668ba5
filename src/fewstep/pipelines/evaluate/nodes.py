"""Scores of a student, and of its teacher, at every number of evaluations, and pictures of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from PIL import Image

from fewstep.config.parameters import EvaluationParameters
from fewstep.console import progress_bar
from fewstep.data.latent_space import LatentSpace
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.kept_scores import kept_scores
from fewstep.evaluation.ladder import Judge, evaluate
from fewstep.evaluation.reconstruction import autoencoder_floor
from fewstep.evaluation.reference_files import read_references
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import SamplingSetting, journey_settings, settings_by_sampler
from fewstep.evaluation.search import kept_levels
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.table import scores_table
from fewstep.support.device import best_device

SHOWN, REAL = 16, 2000  # samples in a row of pictures; real points in a scatter


def score_models(
    images: ArrayStore,
    extractor: Extractor | None,
    teacher: SavedModel | None,
    student: SavedModel,
    evaluation: EvaluationParameters,
    workplace: Workplace,
):
    """Scores (for people and for DVC), the student's levels, the sample sheet, and quality against evaluations.

    A student without a teacher is scored alone. The scores of a teacher are kept, for its other students too.
    """
    taught_by, seeds = teacher_of(student, teacher), evaluation.full_seeds if evaluation.full else evaluation.seeds
    judge = Judge.of(images, extractor, references=read_references(evaluation.reference))
    levels, loaded = _levels(images, extractor, student, evaluation, workplace)
    settings = journey_settings(loaded, None, evaluation.student_nfe, {}, evaluation.gammas)
    sizes: dict[str, Any] = {"count": evaluation.count, "seeds": seeds, "batch_size": evaluation.batch_size}
    sizes["judge"] = judge
    with progress_bar(f"evaluate {loaded.spec.name}") as bar:
        found = evaluate(settings, images, extractor, **sizes, on_progress=bar)
    models = {loaded.spec.name: loaded.sha256}
    if taught_by:
        master, file = taught_by.load().run_by(evaluation.execution), workplace.run_folder(taught_by) / "scores.json"
        settings += (asked := settings_by_sampler(master, evaluation.teacher_nfe))
        with progress_bar(f"evaluate {master.spec.name}") as bar:
            kept = kept_scores(asked, master.sha256, images, extractor, **sizes, file=file, on_progress=bar)
        found, models = found.joined(kept), models | {master.spec.name: master.sha256}
    scores = replace(found, levels=evaluation.levels, models=models)
    if isinstance(loaded.space, LatentSpace):
        heldout, where = images.images("heldout"), best_device()
        decoded = autoencoder_floor(loaded.space, heldout, judge, evaluation.count, seeds, where)
        scores = replace(scores, autoencoder=decoded)
    print(f"\n{scores_table(scores)}\n", flush=True)
    metrics = {name: scores.means_of(name) for name in models}
    return scores, metrics, levels, _sheet(settings, images, seeds[0], evaluation.count), ladder_plot(scores)


def _sheet(settings: Sequence[SamplingSetting], images: ArrayStore, seed: int, count: int) -> Image.Image:
    """Samples of each setting from the same noise. count: points in a scatter."""
    indices = np.arange(min(SHOWN, count) if images.space.kind == "images" else count)
    rows = [(f"{each.model} {each.sampler}\n{each.nfe} NFE", each.generate(seed, indices)) for each in settings]
    return draw_rows(rows, images.space.name, SHOWN, images.images("train")[:REAL])


def _levels(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    evaluation: EvaluationParameters,
    workplace: Workplace,
) -> tuple[StudentLevels, Model]:
    """The levels at which the student is scored, and the student at them."""
    model = student.load().run_by(evaluation.execution)
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
