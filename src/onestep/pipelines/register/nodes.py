"""Makes the student a version in the model registry."""

from pathlib import Path

from onestep.pipelines.training import run_of
from onestep.tracking import Store, git_state, register


def register_student(student, scores: dict, runs: Path, tracking: Store, env: str) -> dict:
    """The record of the version: its aliases and why, its scores, its lineage."""
    lineage = {**git_state("."), "data_sha256": student.spec["data_sha256"]}
    run = run_of(student, runs, tracking, env)
    record = register(student.folder, scores, tracking, lineage, run.run_id)
    provisional = " (provisional)" if record["provisional"] else ""
    print(
        f"\n{record['name']} version {record['version']}: {', '.join(record['aliases']) or 'no alias'}{provisional}, "
        f"because {record['reason']}.",
        flush=True,
    )
    return record
