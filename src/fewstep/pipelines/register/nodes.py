"""Makes the student a version in the model registry, and its teacher one that it names."""

from pathlib import Path
from tempfile import TemporaryDirectory

from fewstep.evaluation.measured import check_models
from fewstep.evaluation.search import at_scored_levels
from fewstep.pipelines.levels import at_found_levels
from fewstep.pipelines.training import run_of
from fewstep.registry import register, register_teacher
from fewstep.tracking import Run, Store, lock_state


def register_student(student, teacher, scores: dict, sheet, ladder, runs: Path, tracking: Store, env: str):
    """The record of the version: its aliases and why, its scores, its lineage; that of its teacher is in it. And
    MLflow, which has the version now.

    A student whose levels were searched is registered with them, so that it is sampled as it was scored, and with those
    found on the way. Sheet and plot go with it, and the report if there is one. Raises ValueError for scores of other
    models.
    """
    check_models(scores, student, teacher)
    folder, trained_in = student.folder, runs / student.spec["provenance"]["run"]
    if scores.get("levels") == "search":
        folder = trained_in / "searched"
        at_scored_levels(at_found_levels(student, runs), scores).save(folder)
    taught_by = None
    if student.spec["provenance"]["teacher_sha256"] == teacher.sha256:
        run = run_of(teacher, runs, tracking, env)
        taught_by = register_teacher(teacher.folder, scores, tracking, _lineage(run, teacher), run.run_id)
    run = run_of(student, runs, tracking, env)
    with TemporaryDirectory() as temporary:
        shown = [Path(temporary, name) for name in ("sheet.png", "ladder.png")]
        for picture, file in zip((sheet, ladder), shown, strict=True):
            picture.save(file)
        shown += trained_in.glob("report.html")
        record = register(folder, scores, tracking, _lineage(run, student), run.run_id, taught_by, shown)
    provisional = " (provisional)" if record["provisional"] else ""
    print(
        f"\n{record['name']} version {record['version']}: {', '.join(record['aliases']) or 'no alias'}{provisional}, "
        f"because {record['reason']}.",
        flush=True,
    )
    return record, tracking


def _lineage(run: Run, model) -> dict[str, str]:
    """The code that trained a model, the data, and DVC's record of both."""
    return {**run.code, **lock_state("."), "data_sha256": model.spec["data_sha256"]}
