"""Makes the student a version in the model registry, and its teacher one that it names."""

from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.models.model import SavedModel
from fewstep.pipelines.teachers import teacher_of
from fewstep.pipelines.workplace import Workplace
from fewstep.registry import register, register_teacher
from fewstep.tracking import Backend, Run, lock_state


def register_student(
    student: SavedModel,
    teacher: SavedModel | None,
    scores: Evaluation,
    levels: StudentLevels,
    sheet: Image.Image,
    ladder: Image.Image,
    report: str | None,
    workplace: Workplace,
) -> tuple[dict, Backend]:
    """The record of the version: its aliases and why, its scores, its lineage, the record of its teacher's version.

    And MLflow, which has the version now. The student is registered at the levels that it was scored at. Sheet and plot
    go with it, and the report if there is one.
    """
    taught_by, record = teacher_of(student, teacher), None
    scored = levels.at(student)
    if taught_by:
        run = workplace.run_of(taught_by)
        record = register_teacher(taught_by, scores, workplace.backend, _lineage(run, taught_by), run.run_id)
    run = workplace.run_of(student)
    with TemporaryDirectory() as temporary:
        shown = _files(Path(temporary), sheet, ladder, report)
        lineage = _lineage(run, student)
        record = register(scored, scores, workplace.backend, lineage, run.run_id, record, shown)
    provisional = " (provisional)" if record["provisional"] else ""
    print(
        f"\n{record['name']} version {record['version']}: {', '.join(record['aliases']) or 'no alias'}{provisional}, "
        f"because {record['reason']}.",
        flush=True,
    )
    return record, workplace.backend


def _files(folder: Path, sheet: Image.Image, ladder: Image.Image, report: str | None) -> list[Path]:
    """What is shown beside a version."""
    files = [folder / "sheet.png", folder / "ladder.png"]
    for picture, file in zip((sheet, ladder), files, strict=True):
        picture.save(file)
    if report:
        files.append(folder / "report.html")
        files[-1].write_text(report)
    return files


def _lineage(run: Run, model: SavedModel) -> dict[str, str]:
    """The code that trained a model, the data, and DVC's record of both."""
    return {**run.code, **lock_state("."), "data_sha256": model.spec.data_sha256 or "unknown"}
