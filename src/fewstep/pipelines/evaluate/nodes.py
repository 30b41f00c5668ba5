"""Scores of a student, and of its teacher, at every number of evaluations, and pictures of them."""

import numpy as np
from PIL import Image

from fewstep.config.parameters import EvaluationParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import Rung, evaluate, rungs_of
from fewstep.evaluation.search import kept_levels
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.registry.evidence import flat_scores
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
    models = [loaded, *([taught_by.load()] if taught_by else [])]
    shown: list[tuple[str, np.ndarray]] = []

    def keep(rung: Rung, seed: int, samples: np.ndarray):
        if seed == seeds[0]:
            shown.append((f"{rung.model} {rung.sampler}\n{rung.nfe} NFE", samples))

    rungs = all_rungs(models, evaluation)
    sizes = {"count": evaluation.count, "batch_size": evaluation.batch_size}
    with progress_bar("evaluate") as bar:
        scores = evaluate(rungs, images, extractor, seeds=seeds, **sizes, on_progress=bar, on_samples=keep)
    scores["levels"] = evaluation.levels
    scores["models"] = {model.spec.name: model.sha256 for model in models}
    print(f"\n{scores_table(scores)}\n", flush=True)
    names = dict.fromkeys(row["model"] for row in scores["rows"])
    sheet = draw_rows(shown, images.space.name, SHOWN, images.images("train")[:REAL])
    metrics = {name: flat_scores(scores, name) for name in names}
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


def all_rungs(models: list[Model], evaluation: EvaluationParameters) -> list[Rung]:
    """The student, which is first, at every NFE, and at every other gamma; its teacher by each of its samplers."""
    student, *teachers = models
    return [
        *rungs_of(student, student.samplers[0], evaluation.student_nfe),
        *rungs_drawn_anew(student, evaluation),
        *(
            rung
            for teacher in teachers
            for sampler, nfes in evaluation.teacher_nfe.items()
            for rung in rungs_of(teacher, sampler, nfes)
        ),
    ]


def rungs_drawn_anew(student: Model, evaluation: EvaluationParameters) -> list[Rung]:
    """Of a student that jumps: at every other gamma."""
    several = [nfe for nfe in evaluation.student_nfe if nfe > 1]  # at 1 nothing is drawn
    gammas = evaluation.gammas if student.samplers[0] == "gamma" else ()
    return [rung for gamma in gammas for rung in rungs_of(student, "gamma", several, gamma)]


def track_scores(
    scores: dict,
    student: SavedModel,
    teacher: SavedModel | None,
    sheet: Image.Image,
    ladder: Image.Image,
    workplace: Workplace,
) -> None:
    """Scores and pictures, on the MLflow runs that trained the models."""
    for model in filter(None, (teacher, student)):
        if model.spec.name in scores["models"]:
            workplace.run_of(model).log_scores(flat_scores(scores, model.spec.name))
            workplace.attach(model, sheet=sheet, ladder=ladder)
