"""Makes the student a version in the model registry, and its teacher one that it names."""

from pathlib import Path

from onestep.evaluation.measured import check_models
from onestep.evaluation.search import at_scored_levels
from onestep.pipelines.training import run_of
from onestep.tracking import Store, git_state, lock_state, register, register_teacher

SHOWN = ("sheet.png", "ladder.png", "report.html")  # of those that evaluate and report have left in the run's folder


def register_student(student, teacher, scores: dict, runs: Path, tracking: Store, env: str) -> dict:
    """The record of the version: its aliases and why, its scores, its lineage; that of its teacher is in it.

    A student whose levels were searched is registered with them, so that it is sampled as it was scored.
    Raises ValueError for scores of other models.
    """
    check_models(scores, student, teacher)
    folder, trained_in = student.folder, runs / student.spec["provenance"]["run"]
    if scores.get("levels") == "search":
        folder = trained_in / "searched"
        at_scored_levels(student, scores).save(folder)
    lineage = {**git_state("."), **lock_state("."), "data_sha256": student.spec["data_sha256"]}
    taught_by = None
    if student.spec["provenance"]["teacher_sha256"] == teacher.sha256:
        run = run_of(teacher, runs, tracking, env)
        taught_by = register_teacher(teacher.folder, scores, tracking, lineage, run.run_id)
    run = run_of(student, runs, tracking, env)
    shown = [trained_in / name for name in SHOWN if (trained_in / name).exists()]
    record = register(folder, scores, tracking, lineage, run.run_id, taught_by, shown)
    provisional = " (provisional)" if record["provisional"] else ""
    print(
        f"\n{record['name']} version {record['version']}: {', '.join(record['aliases']) or 'no alias'}{provisional}, "
        f"because {record['reason']}.",
        flush=True,
    )
    return record
