"""A report for people: what student and teacher make, how good it is, and what it was made with."""

import platform
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fewstep.console import progress_bar
from fewstep.editing import Trial
from fewstep.evaluation.ladder import evaluate, joined, rungs_of
from fewstep.evaluation.measured import check_models
from fewstep.evaluation.search import at_scored_levels
from fewstep.pictures.drawing import draw
from fewstep.pipelines.edit.nodes import try_tasks
from fewstep.pipelines.evaluate.nodes import all_rungs
from fewstep.pipelines.training import run_of
from fewstep.registry import attach
from fewstep.reporting.report import Figure, Part, render, write_pictures
from fewstep.reporting.sections import (
    ladder_part,
    lead_of,
    neighbours_part,
    row_of,
    samples_part,
    scores_part,
    trajectory_part,
    used_part,
)
from fewstep.support.device import best_device
from fewstep.tracking import Store, git_state

BETWEEN = {"interpolate": "from one seed to another", "interpolate images": "from one image to another"}
PACKAGES = ("fewstep", "torch", "numpy", "torch-fidelity", "kedro", "mlflow")


def score_samplers(images, extractor, teacher, scores: dict, report: dict, evaluation: dict) -> dict:
    """The scores with those of the teacher's other samplers."""
    name = teacher.spec["name"]
    known = {(row["sampler"], row["nfe"]) for row in scores["rows"] if row["model"] == name}
    check_models(scores, teacher)
    teacher.function.to(best_device())
    asked = [rung for sampler, nfes in report["teacher_nfe"].items() for rung in rungs_of(teacher, sampler, nfes)]
    rungs = [rung for rung in asked if (rung.sampler, rung.nfe) not in known]
    sizes = {"count": scores["count"], "seeds": scores["seeds"], "batch_size": evaluation["batch_size"]}
    with progress_bar(f"samplers of the {name}") as bar:
        return joined([scores, evaluate(rungs, images, extractor, **sizes, on_progress=bar)]) if rungs else scores


def write_report(images, teacher, student, scores: dict, editing: dict, evaluation: dict, runs: Path):
    """The report, one HTML file, and what writes its pictures to a folder."""
    check_models(scores, teacher, student)
    student = at_scored_levels(student, scores)
    for model in (teacher, student):
        model.function.to(best_device())
    rungs, seed = all_rungs(teacher, student, evaluation), scores["seeds"][0]
    parts = [samples_part(rungs, images, seed), ladder_part(scores)]
    if images.space.kind == "images":
        rate = row_of(scores, student, 1)["scores"]["memorisation"]
        parts += [trajectory_part(teacher, student, seed), *edited_parts(images, student, teacher, editing, runs)]
        parts.append(neighbours_part(student.sample(1, seed, range(8)), images, rate["mean"]))
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    more = {"git commit": git_state(".")["git_commit"], "versions": f"Python {platform.python_version()}, {versions}"}
    parts += [scores_part(scores), used_part(scores, (student, teacher), more)]
    title = f"{images.space.name}: {student.spec['name']} and its teacher"
    return render(title, lead_of(scores, student), parts), partial(write_pictures, parts)


def edited_parts(images, student, teacher, editing: dict, runs: Path) -> list[Part]:
    """Interpolations, and every other task before and after; or why there are none."""
    try:
        trials, _ = try_tasks(images, student, teacher, editing, runs)
    except ValueError as refusal:
        return [Part("Editing", f"There is none: {refusal}")]
    strips = [trial for trial in trials if trial.name in BETWEEN]
    tasks = [trial for trial in trials if trial.name not in BETWEEN]
    between = [Figure(BETWEEN[trial.name], draw(trial.edited, len(trial.edited))) for trial in strips]
    edited = [
        Figure(_said(trial), draw(np.concatenate([trial.given, trial.edited]), len(trial.edited))) for trial in tasks
    ]
    words = f"{editing['steps']} network evaluations an image."
    found = Part("Interpolation", words, between), Part("Editing without training", words, edited)
    return [part for part in found if part.figures]


def _said(trial: Trial) -> str:
    found = trial.measures
    measured = f" (PSNR {found['psnr_given']:.1f} and {found['psnr']:.1f} dB)" if "psnr" in found else ""
    return f"{trial.name}: before, after{measured}"


def track_report(report: str, pictures: Path, student, runs: Path, tracking: Store, env: str) -> None:
    """Report and pictures on the MLflow run that trained the student; the report on its registered versions too."""
    run, file = run_of(student, runs, tracking, env), runs / student.spec["provenance"]["run"] / "report.html"
    file.write_text(report)
    if run.attach(file, pictures):
        attach(student, tracking, file)
