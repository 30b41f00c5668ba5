"""Every recipe at one budget, from one teacher, judged alike."""

from dataclasses import replace
from pathlib import Path

from fewstep.budget import Budget, with_budget
from fewstep.console import progress_bar
from fewstep.evaluation.ladder import evaluate, joined, rungs_of
from fewstep.launch import LaunchSettings
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.levels import at_best_levels
from fewstep.pipelines.training import make_job, run_of, run_training
from fewstep.registry.evidence import flat_scores
from fewstep.reporting.leaderboard import leaderboard, leaderboard_table
from fewstep.reporting.plots import cost_plot, ladder_plot
from fewstep.support.device import best_device

SHOWN = 16


def train_contestant(images, teacher, recipe: dict, comparison: dict, runs: Path, tracking, env, launch: dict, fresh):
    """A student of a recipe, trained for the budget of the comparison."""
    runs, job = runs / "comparison", make_job(recipe, images, teacher)
    job = replace(job, seed=job.seed + comparison["training_seed"])
    job = with_budget(job, Budget(**comparison["budget"]), runs / "budgets.json", LaunchSettings(**launch))
    return run_training(job, _experiment(images), runs, tracking, env, launch, fresh)


def score_contestant(images, extractor, student, comparison: dict, runs: Path, *records):
    """Scores of a student at the levels that suit it best."""
    student.function.to(best_device())
    runs = runs / "comparison"
    found = at_best_levels(student, images, extractor, comparison["nfe"], comparison, runs)
    scores = _evaluate(found, {found.samplers[0]: comparison["nfe"]}, images, extractor, comparison)
    run_of(student, runs, *records, _experiment(images)).log_scores(flat_scores(scores, student.spec["name"]))
    return scores


def score_reference(images, extractor, teacher, comparison: dict):
    """Scores of the teacher."""
    teacher.function.to(best_device())
    return _evaluate(teacher, comparison["teacher_nfe"], images, extractor, comparison)


def rank(images, teacher, reference: dict, *contests):
    """The leaderboard, its plots of score against evaluations and against training cost, and sheets side by side.

    contests: scores of every student, then the students in the same order. Raises ValueError for scores of other models
    than these, of another teacher, or of unequal budgets.
    """
    scores, students = contests[: len(contests) // 2], contests[len(contests) // 2 :]
    for model, scored in zip((teacher, *students), (reference, *scores), strict=True):
        check_scored(model, teacher, scored, reference)
    together = joined([reference, *scores])
    board = leaderboard(together, students, teacher)
    print(f"\n{leaderboard_table(board)}\n", flush=True)
    sheets = _draw(images, teacher, reference, zip(students, scores, strict=True))
    ladder = ladder_plot(together, title=f"{images.space.name}: every method at one budget")
    return board, ladder, cost_plot(board), sheets


def check_scored(model, teacher, scored: dict, reference: dict) -> None:
    """Raise ValueError if these are not the model's scores, or do not stand beside the reference."""
    name = model.spec["name"]
    again = f"kedro run --pipelines=compare --nodes=train_{name},score_{name}"
    if scored["model_sha256"] != model.sha256:
        raise ValueError(f"the scores of {name} are of another model than the one that is there: {again}")
    if scored["budget"] != reference["budget"]:
        raise ValueError(f"{name} had a budget of {scored['budget']}, not {reference['budget']}: {again}")
    if model.spec["provenance"]["teacher_sha256"] not in (None, teacher.sha256):
        raise ValueError(f"{name} had another teacher: {again}")


def _experiment(images) -> str:
    return f"{images.space.name}-comparison"


def _evaluate(model, nfes: dict, images, extractor, comparison: dict) -> dict:
    """nfes: {sampler: NFE}."""
    sizes = {key: comparison[key] for key in ("count", "seeds", "batch_size")}
    rungs = [rung for sampler, found in nfes.items() for rung in rungs_of(model, sampler, sorted(found))]
    with progress_bar(f"evaluate {model.spec['name']}") as bar:
        scores = evaluate(rungs, images, extractor, **sizes, on_progress=bar)
    return {**scores, "model_sha256": model.sha256, "budget": comparison["budget"]}


def _draw(images, teacher, reference: dict, contestants):
    """Rows of samples from the same noise: the teacher at its most, each student at 1 and 2 NFE."""
    best = max(reference["rows"], key=lambda row: row["nfe"])
    rows = [(f"teacher\n{best['nfe']} NFE", teacher.sample(best["nfe"], 0, range(SHOWN), sampler=best["sampler"]))]
    for student, scores in contestants:
        for row in scores["rows"][:2]:
            samples = student.sample(row["nfe"], 0, range(SHOWN), levels=row["levels"])
            rows.append((f"{row['model']}\n{row['nfe']} NFE", samples))
    return draw_rows(rows, f"{images.space.name}: the same noise, every method", SHOWN)
