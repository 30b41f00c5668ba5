"""Scores of teacher and student at every number of evaluations, and pictures of them."""

from pathlib import Path

import numpy as np

from fewstep.console import progress_bar
from fewstep.evaluation.ladder import Rung, evaluate, rungs_of
from fewstep.pictures.drawing import draw_rows
from fewstep.pipelines.levels import LEVELS, at_best_levels
from fewstep.pipelines.training import run_of
from fewstep.registry.evidence import flat_scores
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.table import scores_table
from fewstep.support.device import best_device

SHOWN, REAL = 16, 2000


def score_models(images, extractor, teacher, student, evaluation: dict, runs: Path):
    """Scores (for people and for DVC), the sample sheet, and the plot of quality against evaluations."""
    shown: list[tuple[str, np.ndarray]] = []
    seeds = evaluation["full_seeds" if evaluation["full"] else "seeds"]
    for model in (teacher, student):
        model.function.to(best_device())

    def keep(rung: Rung, seed: int, samples: np.ndarray):
        if seed == seeds[0]:
            shown.append((f"{rung.model} {rung.sampler}\n{rung.nfe} NFE", samples))

    if evaluation["levels"] == "search":
        student = at_best_levels(student, images, extractor, evaluation["student_nfe"], evaluation, runs)
    rungs = all_rungs(teacher, student, evaluation)
    sizes = {"count": evaluation["count"], "batch_size": evaluation["batch_size"]}
    with progress_bar("evaluate") as bar:
        scores = evaluate(rungs, images, extractor, seeds=seeds, **sizes, on_progress=bar, on_samples=keep)
    scores["levels"] = evaluation["levels"]
    scores["models"] = {model.spec["name"]: model.sha256 for model in (student, teacher)}
    print(f"\n{scores_table(scores)}\n", flush=True)
    names = dict.fromkeys(row["model"] for row in scores["rows"])
    sheet = draw_rows(shown, images.space.name, SHOWN, images.images("train")[:REAL])
    metrics = {name: flat_scores(scores, name) for name in names}
    return scores, metrics, sheet, ladder_plot(scores)


def all_rungs(teacher, student, evaluation: dict) -> list[Rung]:
    """The student at every NFE, and at every other gamma; the teacher by each of its samplers."""
    return [
        *rungs_of(student, student.samplers[0], evaluation["student_nfe"]),
        *rungs_drawn_anew(student, evaluation),
        *(rung for sampler, nfes in evaluation["teacher_nfe"].items() for rung in rungs_of(teacher, sampler, nfes)),
    ]


def rungs_drawn_anew(student, evaluation: dict) -> list[Rung]:
    """Of a student that jumps: at every other gamma."""
    several = [nfe for nfe in evaluation["student_nfe"] if nfe > 1]  # at 1 nothing is drawn
    gammas = evaluation["gammas"] if student.samplers[0] == "gamma" else []
    return [rung for gamma in gammas for rung in rungs_of(student, "gamma", several, gamma)]


def track_scores(scores: dict, student, teacher, sheet, ladder, runs: Path, *records) -> None:
    """Scores and pictures, on the MLflow runs that trained the models."""
    for model in (teacher, student):
        run = run_of(model, runs, *records)
        run.log_scores(flat_scores(scores, model.spec["name"]))
        folder = runs / model.spec["provenance"]["run"]
        for name, picture in (("sheet.png", sheet), ("ladder.png", ladder)):
            picture.save(folder / name)
            run.attach(folder / name)
        if scores.get("levels") == "search" and (folder / LEVELS).exists():
            run.attach(folder / LEVELS)
