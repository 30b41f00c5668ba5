"""What the nodes that train have in common: a job made of parameters, launched, followed and tracked.

RECORDS and WORKPLACE are inputs that say where and how work is done. What it makes does not depend on them.
"""

from dataclasses import replace
from pathlib import Path

from fewstep.config.recipe import Recipe
from fewstep.console import progress_bar
from fewstep.launch import LaunchSettings, launch
from fewstep.models.model import Model
from fewstep.tracking import Follower, Run, Store, open_run, run_tags
from fewstep.training.job import Job, needs_teacher
from fewstep.training.lock import clear

RECORDS = ["runs", "tracking", "params:env"]
WORKPLACE = [*RECORDS, "params:launch", "params:fresh"]


def make_job(recipe: dict, images, teacher: Model | None = None) -> Job:
    """A recipe's training on these images, from this teacher if it needs one.

    Raises ValueError if that teacher does not fit.
    """
    teacher = teacher if needs_teacher(recipe["objective"], recipe["start"]) else None
    if teacher:
        Recipe.model_validate(recipe).check_teacher(images.space, teacher)
    return Job(
        data=str(images.folder.resolve()),
        data_sha256=images.sha256,
        teacher=str(teacher.folder.resolve()) if teacher else None,
        teacher_sha256=teacher.sha256 if teacher else None,
        **recipe,
    )


def run_training(
    job: Job, experiment: str, runs: Path, tracking: Store, env: str, launch_settings: dict, fresh: bool
) -> Model:
    """Train, with a progress bar and an MLflow run; an interrupted training is taken up, a finished one is reused."""
    run_dir = runs / job.run_name
    if fresh:
        clear(run_dir)
    if (run_dir / "model").exists():
        print(f"{job.name}: this training is finished in {run_dir}; --params=fresh=true trains again.", flush=True)
        return finished_model(run_dir, job)
    tags = run_tags(job.name, job.data_sha256, env)
    run = open_run(run_dir, experiment, job.name, tracking, job.provenance, tags)
    with progress_bar(job.name) as bar, run:

        def show(entries, pictures):
            for entry in entries[-1:]:
                note = f"{entry['images_per_second']:.0f} images/s, loss {entry['loss']:.4g}"
                bar(entry["images"], entry["total_images"], note)

        with Follower(run_dir, [show, run]):
            launch(job, run_dir, LaunchSettings(**launch_settings))
    return finished_model(run_dir, job)


def finished_model(run_dir: Path, job: Job) -> Model:
    """What a training made, to be sampled at the job's levels, which may have been others while it trained."""
    model = Model.load(run_dir / "model")
    return replace(model, spec={**model.spec, "levels": job.spec["levels"]})


def run_of(model: Model, runs: Path, tracking: Store, env: str, experiment: str | None = None) -> Run:
    """The MLflow run that trained a model; a new one where the model came without it (dvc pull).

    experiment: of a new one, by default the data set's name.
    """
    spec = model.spec
    tags = run_tags(spec["name"], spec["data_sha256"], env)
    run_dir = runs / spec["provenance"]["run"]
    return open_run(run_dir, experiment or model.space.name, spec["name"], tracking, spec["provenance"], tags)
