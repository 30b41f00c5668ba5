"""A report for people: what student and teacher make, how good it is, and what it was made with."""

import platform
import shutil
from importlib.metadata import version

import numpy as np
from PIL import Image

from fewstep.config.parameters import EditingParameters, EvaluationParameters, ReportParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.editing import Trial
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import evaluate, joined, rungs_of
from fewstep.evaluation.measured import check_models
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.drawing import draw
from fewstep.pictures.files import write_pictures
from fewstep.pipelines.edit.nodes import try_tasks
from fewstep.pipelines.evaluate.nodes import all_rungs
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.registry import attach
from fewstep.reporting.report import Figure, Part, figures_of, render
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
from fewstep.support.errors import UserError
from fewstep.tracking import git_state

BETWEEN = {"interpolate": "from one seed to another", "interpolate images": "from one image to another"}
PACKAGES = ("fewstep", "torch", "numpy", "torch-fidelity", "kedro", "mlflow")


def score_samplers(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    teacher: SavedModel | None,
    scores: dict,
    report: ReportParameters,
    evaluation: EvaluationParameters,
) -> dict:
    """The scores with those of the teacher's other samplers."""
    if (taught_by := teacher_of(student, teacher)) is None:
        return scores
    name, model = taught_by.spec.name, taught_by.load()
    known = {(row["sampler"], row["nfe"]) for row in scores["rows"] if row["model"] == name}
    check_models(scores, taught_by)
    asked = [rung for sampler, nfes in report.teacher_nfe.items() for rung in rungs_of(model, sampler, nfes)]
    rungs = [rung for rung in asked if (rung.sampler, rung.nfe) not in known]
    sizes = {"count": scores["count"], "seeds": scores["seeds"], "batch_size": evaluation.batch_size}
    with progress_bar(f"samplers of the {name}") as bar:
        return joined([scores, evaluate(rungs, images, extractor, **sizes, on_progress=bar)]) if rungs else scores


def write_report(
    images: ArrayStore,
    teacher: SavedModel | None,
    student: SavedModel,
    scores: dict,
    levels: StudentLevels,
    editing: EditingParameters,
    evaluation: EvaluationParameters,
) -> tuple[str, dict[str, Image.Image]]:
    """The report, one HTML file, and its pictures by their names."""
    taught_by = teacher_of(student, teacher)
    check_models(scores, *filter(None, (taught_by, student)))
    made = levels.at(student).load()
    master = taught_by.load() if taught_by else None
    models = [made, *([master] if master else [])]
    rungs, seed = all_rungs(models, evaluation), scores["seeds"][0]
    parts = [samples_part(rungs, images, seed), ladder_part(scores)]
    if images.space.kind == "images":
        rate = row_of(scores, made, 1)["scores"]["memorisation"]
        parts += [trajectory_part(master, made, seed)] if master else []
        parts += edited_parts(images, made, master, editing)
        parts.append(neighbours_part(made.sample(1, seed, range(8)), images, rate["mean"]))
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    more = {"git commit": git_state(".")["git_commit"], "versions": f"Python {platform.python_version()}, {versions}"}
    parts += [scores_part(scores), used_part(scores, models, more)]
    title = f"{images.space.name}: {made.spec.name}{' and its teacher' * (master is not None)}"
    return render(title, lead_of(scores, made), parts), figures_of(parts)


def edited_parts(images: ArrayStore, student: Model, teacher: Model | None, editing: EditingParameters) -> list[Part]:
    """Interpolations, and every other task before and after; or why there are none."""
    try:
        trials, _ = try_tasks(images, student, teacher, editing)
    except UserError as refusal:
        return [Part("Editing", f"There is none: {refusal}")]
    strips = [trial for trial in trials if trial.name in BETWEEN]
    tasks = [trial for trial in trials if trial.name not in BETWEEN]
    between = [Figure(BETWEEN[trial.name], draw(trial.edited, len(trial.edited))) for trial in strips]
    edited = [
        Figure(_said(trial), draw(np.concatenate([trial.given, trial.edited]), len(trial.edited))) for trial in tasks
    ]
    words = f"{editing.steps} network evaluations an image."
    found = Part("Interpolation", words, between), Part("Editing without training", words, edited)
    return [part for part in found if part.figures]


def _said(trial: Trial) -> str:
    found = trial.measures
    measured = f" (PSNR {found['psnr_given']:.1f} and {found['psnr']:.1f} dB)" if "psnr" in found else ""
    return f"{trial.name}: before, after{measured}"


def track_report(report: str, pictures: dict[str, Image.Image], student: SavedModel, workplace: Workplace) -> None:
    """Report and pictures on the MLflow run that trained the student; the report on its registered versions too."""
    folder = workplace.run_folder(student) / "outbox"
    page, shown = folder / "report.html", folder / "report"
    page.parent.mkdir(parents=True, exist_ok=True)
    page.write_text(report)
    shutil.rmtree(shown, ignore_errors=True)
    write_pictures(pictures, shown)
    if workplace.run_of(student).attach(page, shown):
        attach(student, workplace.backend, page)
