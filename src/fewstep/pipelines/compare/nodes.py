"""Every recipe at one budget, from one teacher, judged alike."""

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from PIL import Image

from fewstep.budget import with_budget
from fewstep.config.parameters import ComparisonParameters
from fewstep.console import progress_bar
from fewstep.data.latent_store import LatentStore
from fewstep.data.store import ArrayStore
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import evaluate
from fewstep.evaluation.results import Evaluation, TrainingBudget
from fewstep.evaluation.sampling import settings_by_sampler
from fewstep.evaluation.search import kept_levels
from fewstep.models.model import Model, SavedModel
from fewstep.pipelines.training import run_recipe
from fewstep.pipelines.workplace import Workplace
from fewstep.reporting.contest import contest_sheet
from fewstep.reporting.leaderboard import Leaderboard, leaderboard, leaderboard_table
from fewstep.reporting.plots import cost_plot, ladder_plot
from fewstep.training.job import Job
from fewstep.training.recipe import Recipe

CONTEST, CONTESTANT = "_contest", "_contestant"  # after a recipe's name: its student's scores, its student


def train_contestant(
    images: ArrayStore,
    latents: LatentStore | None,
    teacher: SavedModel | None,
    recipe: Recipe,
    comparison: ComparisonParameters,
    workplace: Workplace,
) -> SavedModel:
    """A student of a recipe, trained for the budget of the comparison, which its stages share equally."""
    workplace, stages = workplace.below("comparison"), [stage.name for stage in recipe.stages]
    budget = replace(comparison.budget, amount=comparison.budget.amount / len(stages))

    def prepared(job: Job) -> Job:
        seeded = replace(job, recipe=replace(job.recipe, seed=job.recipe.seed + comparison.training_seed))
        if job.name not in stages:  # an earlier model of the loss, such as a weak teacher
            return seeded
        return with_budget(seeded, budget, workplace.runs / "budgets.json", workplace.launch)

    return run_recipe(recipe, latents or images, teacher, _experiment(images), workplace, prepared)


def score_contestant(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    comparison: ComparisonParameters,
    workplace: Workplace,
) -> Evaluation:
    """Scores of a student at the levels that suit it best."""
    workplace, model = workplace.below("comparison"), student.load().run_by(comparison.execution)
    file = workplace.run_folder(student) / "search.json"
    sizes = comparison.nfe, comparison.search_count, file, comparison.batch_size
    with progress_bar(f"levels of {student.spec.name}") as bar:
        model = model.at_levels(kept_levels(model, images, extractor, *sizes, on_progress=bar))
    scores = _evaluate(model, {model.samplers[0]: comparison.nfe}, images, extractor, comparison)
    workplace.run_of(student, _experiment(images)).log_scores(scores.means_of(student.spec.name))
    return scores


def score_reference(
    images: ArrayStore, extractor: Extractor | None, teacher: SavedModel, comparison: ComparisonParameters
) -> Evaluation:
    """Scores of the teacher."""
    return _evaluate(teacher.load().run_by(comparison.execution), comparison.teacher_nfe, images, extractor, comparison)


def rank(
    images: ArrayStore, teacher: SavedModel, reference_contest: Evaluation, **entries: Evaluation | SavedModel
) -> tuple[Leaderboard, Image.Image, Image.Image, Image.Image]:
    """The leaderboard, its plots of score against evaluations and against training cost, and sheets side by side.

    entries: {recipe_contest: scores of its student, recipe_contestant: the student}, which belong together.
    """
    scores = cast("list[Evaluation]", _by_recipe(entries, CONTEST))
    students = cast("list[SavedModel]", _by_recipe(entries, CONTESTANT))
    together = reference_contest.joined(*scores)
    board = leaderboard(together, students, teacher)
    print(f"\n{leaderboard_table(board)}\n", flush=True)
    sheets = contest_sheet(teacher, reference_contest, zip(students, scores, strict=True))
    ladder = ladder_plot(together, title=f"{images.space.name}: every method at one budget")
    return board, ladder, cost_plot(board), sheets


def _by_recipe(entries: Mapping[str, object], ending: str) -> list[object]:
    """What has a name of this ending, in the order of the recipes' names."""
    recipes = sorted(name.removesuffix(ending) for name in entries if name.endswith(ending))
    return [entries[recipe + ending] for recipe in recipes]


def _experiment(images: ArrayStore) -> str:
    return f"{images.space.name}-comparison"


def _evaluate(
    model: Model, nfes: dict, images: ArrayStore, extractor: Extractor | None, comparison: ComparisonParameters
) -> Evaluation:
    """nfes: {sampler: NFE}."""
    sizes = {"count": comparison.count, "seeds": comparison.seeds, "batch_size": comparison.batch_size}
    settings = settings_by_sampler(model, nfes)
    with progress_bar(f"evaluate {model.spec.name}") as bar:
        scores = evaluate(settings, images, extractor, **sizes, on_progress=bar)
    budget = TrainingBudget(comparison.budget.unit, comparison.budget.amount)
    return replace(scores, models={model.spec.name: model.sha256}, budget=budget)
