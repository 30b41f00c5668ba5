"""What the nodes that train have in common: a job made of parameters, launched, followed and tracked."""

import shutil
from pathlib import Path

from onestep.console import progress_bar
from onestep.launch import LaunchSettings, launch
from onestep.tracking import Follower, Run, Store, open_run, run_tags
from onestep.training.job import Job
from onestep.training.model import Model


def make_job(name: str, recipe: dict, images, teacher: Model | None = None) -> Job:
    """A recipe's training on these images, from this teacher."""
    return Job(
        name=name,
        data=str(images.folder.resolve()),
        data_sha256=images.sha256,
        teacher=str(teacher.folder.resolve()) if teacher else None,
        teacher_sha256=teacher.sha256 if teacher else None,
        **recipe,
    )


def run_training(job: Job, runs: Path, parameters: dict, store: Store) -> Model:
    """Train, with a progress bar and an MLflow run; an interrupted training is taken up, a finished one is reused."""
    run_dir = runs / job.run_name
    if parameters["fresh"]:
        shutil.rmtree(run_dir, ignore_errors=True)
    if (run_dir / "model").exists():
        print(f"{job.name}: this training is finished in {run_dir}; --params=fresh=true trains again.", flush=True)
        return Model.load(run_dir / "model")
    tags = run_tags(job.name, job.data_sha256, parameters["env"])
    run = open_run(run_dir, parameters["dataset"], job.name, store, job.provenance, tags)
    with progress_bar(job.name) as bar, run:

        def show(entries, pictures):
            for entry in entries[-1:]:
                note = f"{entry['images_per_second']:.0f} images/s, loss {entry['loss']:.4g}"
                bar(entry["images"], entry["total_images"], note)

        with Follower(run_dir, [show, run]):
            finished = launch(job, run_dir, LaunchSettings(**parameters["launch"]))
    return Model.load(finished)


def run_of(model: Model, runs: Path, store: Store, parameters: dict) -> Run:
    """The MLflow run that trained a model; a new one where the model came without it (dvc pull)."""
    spec = model.spec
    tags = run_tags(spec["name"], spec["data_sha256"], parameters["env"])
    return open_run(
        runs / spec["provenance"]["run"], parameters["dataset"], spec["name"], store, spec["provenance"], tags
    )
