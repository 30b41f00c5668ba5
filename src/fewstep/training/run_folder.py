"""The folder of a training: named by the job, or left by the same job under other numerics."""

from pathlib import Path

from fewstep.training.checkpoint import newest_facts
from fewstep.training.job import Job
from fewstep.training.lock import sole_training
from fewstep.training.start import check_same_job


def find_run_folder(runs: Path, job: Job) -> Path:
    """The folder that a job trains in, which need not exist yet.

    An unfinished training that differs in nothing but its numerics is refused with a ValueError that names the parts.
    With job.other_numerics its folder gets this job's name, so that the training goes on there. Finished trainings of
    other numerics stay beside it.
    """
    folder = runs / job.run_name
    if folder.exists() or not (left := _left_by_other_numerics(runs, job)):
        return folder
    facts = newest_facts(left / "checkpoints")
    assert facts is not None  # by these the folder was found
    check_same_job(facts["job"], job.description, left, job.other_numerics)
    with sole_training(left):  # orphans of a killed run may still write there
        left.rename(folder)
    return folder


def _left_by_other_numerics(runs: Path, job: Job) -> Path | None:
    """The unfinished training of the same job that was written to last."""

    def same(folder: Path) -> bool:
        facts = newest_facts(folder / "checkpoints")
        return facts is not None and {**facts.get("job", {}), "numerics": None} == {**job.description, "numerics": None}

    unfinished = [folder for folder in runs.glob(f"{job.name}-*") if not (folder / "model").exists()]
    return max(filter(same, unfinished), key=lambda folder: (folder / "checkpoints").stat().st_mtime, default=None)
