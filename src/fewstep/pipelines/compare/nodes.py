"""Every recipe at one budget, from one teacher, judged alike."""

from collections.abc import Iterable
from dataclasses import replace

from PIL import Image

from fewstep.budget import with_budget
from fewstep.config.parameters import ComparisonParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import evaluate, joined, rungs_of
from fewstep.evaluation.search import kept_levels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.training import run_training
from fewstep.pipelines.workplace import Workplace
from fewstep.registry.evidence import flat_scores
from fewstep.reporting.leaderboard import leaderboard, leaderboard_table
from fewstep.reporting.plots import cost_plot, ladder_plot
from fewstep.support.errors import InvalidInput
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe

SHOWN = 16
CONTEST, CONTESTANT = "_contest", "_contestant"  # after a recipe's name: its student's scores, its student


def train_contestant(
    images: ArrayStore,
    teacher: SavedModel | None,
    recipe: Recipe,
    comparison: ComparisonParameters,
    workplace: Workplace,
) -> SavedModel:
    """A student of a recipe, trained for the budget of the comparison."""
    workplace = workplace.below("comparison")
    seeded = replace(recipe, seed=recipe.seed + comparison.training_seed)
    job = Job.of(seeded, images, teacher)
    job = with_budget(job, comparison.budget, workplace.runs / "budgets.json", workplace.launch)
    return run_training(job, _experiment(images), workplace)


def score_contestant(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    comparison: ComparisonParameters,
    workplace: Workplace,
) -> dict:
    """Scores of a student at the levels that suit it best."""
    workplace, model = workplace.below("comparison"), student.load()
    file = workplace.run_folder(student) / "search.json"
    sizes = comparison.nfe, comparison.search_count, file, comparison.batch_size
    with progress_bar(f"levels of {student.spec.name}") as bar:
        model = model.at_levels(kept_levels(model, images, extractor, *sizes, on_progress=bar))
    scores = _evaluate(model, {model.samplers[0]: comparison.nfe}, images, extractor, comparison)
    workplace.run_of(student, _experiment(images)).log_scores(flat_scores(scores, student.spec.name))
    return scores


def score_reference(
    images: ArrayStore, extractor: Extractor | None, teacher: SavedModel, comparison: ComparisonParameters
) -> dict:
    """Scores of the teacher."""
    return _evaluate(teacher.load(), comparison.teacher_nfe, images, extractor, comparison)


def rank(images: ArrayStore, teacher: SavedModel, reference_contest: dict, **entries: dict | SavedModel):
    """The leaderboard, its plots of score against evaluations and against training cost, and sheets side by side.

    entries: {recipe_contest: scores of its student, recipe_contestant: the student}. Raises ValueError for scores of
    other models than these, of another teacher, or of unequal budgets.
    """
    recipes = sorted(name.removesuffix(CONTEST) for name in entries if name.endswith(CONTEST))
    scores = [entries[recipe + CONTEST] for recipe in recipes]
    students = [entries[recipe + CONTESTANT] for recipe in recipes]
    for model, scored in zip((teacher, *students), (reference_contest, *scores), strict=True):
        check_scored(model, teacher, scored, reference_contest)
    together = joined([reference_contest, *scores])
    board = leaderboard(together, students, teacher)
    print(f"\n{leaderboard_table(board)}\n", flush=True)
    sheets = _draw(images, teacher, reference_contest, zip(students, scores, strict=True))
    ladder = ladder_plot(together, title=f"{images.space.name}: every method at one budget")
    return board, ladder, cost_plot(board), sheets


def check_scored(model: SavedModel, teacher: SavedModel, scored: dict, reference: dict) -> None:
    """Raise ValueError if these are not the model's scores, or do not stand beside the reference."""
    name = model.spec.name
    again = f"kedro run --pipelines=compare --nodes=train_{name},score_{name}"
    if scored["model_sha256"] != model.sha256:
        raise InvalidInput(f"the scores of {name} belong to another model than the one on disk: {again}")
    if scored["budget"] != reference["budget"]:
        raise InvalidInput(f"{name} had a budget of {scored['budget']}, not {reference['budget']}: {again}")
    if model.spec.provenance.teacher_sha256 not in (None, teacher.sha256):
        raise InvalidInput(f"{name} had another teacher: {again}")


def _experiment(images: ArrayStore) -> str:
    return f"{images.space.name}-comparison"


def _evaluate(
    model: Model, nfes: dict, images: ArrayStore, extractor: Extractor | None, comparison: ComparisonParameters
) -> dict:
    """nfes: {sampler: NFE}."""
    sizes = {"count": comparison.count, "seeds": comparison.seeds, "batch_size": comparison.batch_size}
    rungs = [rung for sampler, found in nfes.items() for rung in rungs_of(model, sampler, sorted(found))]
    with progress_bar(f"evaluate {model.spec.name}") as bar:
        scores = evaluate(rungs, images, extractor, **sizes, on_progress=bar)
    budget = {"unit": comparison.budget.unit, "amount": comparison.budget.amount}
    return {**scores, "model_sha256": model.sha256, "budget": budget}


def _draw(
    images: ArrayStore, teacher: SavedModel, reference: dict, contestants: Iterable[tuple[SavedModel, dict]]
) -> Image.Image:
    """Rows of samples from the same noise: the teacher at its most, each student at 1 and 2 NFE."""
    best = max(reference["rows"], key=lambda row: row["nfe"])
    samples = teacher.load().sample(best["nfe"], 0, range(SHOWN), sampler=best["sampler"])
    rows = [(f"teacher\n{best['nfe']} NFE", samples)]
    for student, scores in contestants:
        model = student.load()
        for row in scores["rows"][:2]:
            samples = model.sample(row["nfe"], 0, range(SHOWN), levels=row["levels"])
            rows.append((f"{row['model']}\n{row['nfe']} NFE", samples))
    return draw_rows(rows, f"{images.space.name}: the same noise, every method", SHOWN)
