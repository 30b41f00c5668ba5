"""A report for people: what student and teacher make, how good it is, and what it was made with."""

import platform
from importlib.metadata import version

from PIL import Image

from fewstep.config.parameters import EditingParameters, EvaluationParameters, ReportParameters
from fewstep.console import progress_bar
from fewstep.data.store import ArrayStore
from fewstep.editing import try_tasks
from fewstep.evaluation.features import Extractor
from fewstep.evaluation.ladder import Judge, evaluate
from fewstep.evaluation.reference_files import read_references
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import journey_settings, settings_by_sampler
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import Model, SavedModel
from fewstep.pictures.saving import write_pictures
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.registry import attach
from fewstep.reporting.report import Part, figures_of, render
from fewstep.reporting.sections import (
    edited_parts,
    ladder_part,
    lead_of,
    neighbours_part,
    samples_part,
    scores_part,
    trajectory_part,
    used_part,
)
from fewstep.support.errors import UserError
from fewstep.support.files import replaced_folder, write_text
from fewstep.tracking import git_state

PACKAGES = ("fewstep", "torch", "numpy", "torch-fidelity", "kedro", "mlflow")


def score_samplers(
    images: ArrayStore,
    extractor: Extractor | None,
    student: SavedModel,
    teacher: SavedModel | None,
    scores: Evaluation,
    report: ReportParameters,
    evaluation: EvaluationParameters,
) -> Evaluation:
    """The scores with those of the teacher's other samplers."""
    if (taught_by := teacher_of(student, teacher)) is None:
        return scores
    name, model = taught_by.spec.name, taught_by.load().run_by(evaluation.execution)
    known = {(row.sampler, row.nfe) for row in scores.rows_of(name)}
    asked = settings_by_sampler(model, report.teacher_nfe)
    settings = [setting for setting in asked if (setting.sampler, setting.nfe) not in known]
    if not settings:
        return scores
    how = scores.measurement
    sizes = {"count": how.count, "seeds": how.seeds, "batch_size": evaluation.batch_size}
    with progress_bar(f"samplers of the {name}") as bar:
        judge = Judge.of(images, extractor, references=read_references(evaluation.reference))
        return scores.joined(evaluate(settings, images, extractor, **sizes, judge=judge, on_progress=bar))


def write_report(
    images: ArrayStore,
    teacher: SavedModel | None,
    student: SavedModel,
    scores: Evaluation,
    levels: StudentLevels,
    editing: EditingParameters,
    evaluation: EvaluationParameters,
) -> tuple[str, dict[str, Image.Image]]:
    """The report, one HTML file, and its pictures by their names."""
    taught_by = teacher_of(student, teacher)
    made = levels.at(student).load().run_by(evaluation.execution)
    master = taught_by.load().run_by(evaluation.execution) if taught_by else None
    models = [made, *([master] if master else [])]
    settings = journey_settings(made, master, evaluation.student_nfe, evaluation.teacher_nfe, evaluation.gammas)
    seed = scores.measurement.seeds[0]
    parts = [samples_part(settings, images, seed), ladder_part(scores)]
    if images.space.kind == "images":
        judged = scores.row_of(made.spec.name, 1)
        assert judged is not None  # student_nfe always has 1
        parts += [trajectory_part(master, made, seed)] if master else []
        parts += _edited(images, made, master, editing)
        parts.append(neighbours_part(made.sample(8, seed=seed), images, judged.scores["memorisation"].mean))
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    more = {"git commit": git_state(".")["git_commit"], "versions": f"Python {platform.python_version()}, {versions}"}
    parts += [scores_part(scores), used_part(scores, models, more)]
    title = f"{images.space.name}: {made.spec.name}{' and its teacher' * (master is not None)}"
    return render(title, lead_of(scores, made), parts), figures_of(parts)


def _edited(images: ArrayStore, student: Model, teacher: Model | None, editing: EditingParameters) -> list[Part]:
    """What editing shows, or why it shows nothing."""
    try:
        with progress_bar("edit") as bar:
            trials, _ = try_tasks(images, student, teacher, **dict(editing), on_progress=bar)
    except UserError as refusal:
        return [Part("Editing", f"There is none: {refusal}")]
    return edited_parts(trials, editing.nfe)


def track_report(report: str, pictures: dict[str, Image.Image], student: SavedModel, workplace: Workplace) -> None:
    """Report and pictures on the MLflow run that trained the student; the report on its registered versions too."""
    folder = workplace.run_folder(student) / "outbox"
    page, shown = folder / "report.html", folder / "report"
    write_text(page, report)
    with replaced_folder(shown, None, 0) as partial:
        write_pictures(pictures, partial)
    if workplace.run_of(student).attach(page, shown):
        attach(student, workplace.backend, page)
