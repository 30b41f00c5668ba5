"""What the nodes that train have in common: a job is launched, followed and tracked."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from fewstep.console import progress_bar
from fewstep.data.examples import Examples
from fewstep.data.latent_store import DESCRIPTION as LATENTS
from fewstep.data.store import DESCRIPTION
from fewstep.launch import LaunchSettings, launch
from fewstep.models.model import SavedModel
from fewstep.pipelines.workplace import Workplace
from fewstep.support.json_text import parse_json
from fewstep.support.processes import ended_by_sigterm
from fewstep.tracking import Follower, git_state, run_tags
from fewstep.tracking.follow import Picture
from fewstep.training.job import Job
from fewstep.training.lock import clear
from fewstep.training.recipe import Recipe
from fewstep.training.run_folder import find_run_folder
from fewstep.training.scoring import SCORE

NOTE = "mlflow.note.content"  # the tag that MLflow shows as a run's description


def run_recipe(
    recipe: Recipe,
    images: Examples,
    teacher: SavedModel | None,
    experiment: str,
    workplace: Workplace,
    prepared: Callable[[Job], Job] = lambda job: job,
) -> SavedModel:
    """Train a recipe, and before it, where it has one, its earlier recipe, unless that training is finished.

    prepared: what a job becomes before it is run. fresh is of the recipe itself: earlier ones may serve others too.
    """
    earlier = None
    if recipe.earlier:
        before = replace(workplace.unnamed(), fresh=False)
        earlier = run_recipe(recipe.earlier, images, teacher, experiment, before, prepared)
    return run_training(prepared(Job.of(recipe, images, teacher, earlier)), experiment, workplace)


def run_training(job: Job, experiment: str, workplace: Workplace) -> SavedModel:
    """Train, with a progress bar and an MLflow run; an interrupted training is taken up, a finished one is reused."""
    job = replace(job, written_by=git_state("."), other_numerics=workplace.launch.other_numerics)
    if job.recipe.training.scores_every and workplace.features:
        job = replace(job, features=str(workplace.features.resolve()))
    run_dir = workplace.runs / job.run_name
    if workplace.fresh:
        clear(run_dir)
    run_dir = find_run_folder(workplace.runs, job)
    if (run_dir / "model").exists():
        print(f"{job.name}: this training is finished in {run_dir}; --params=fresh=true trains again.", flush=True)
        return finished_model(run_dir, job)
    tags = run_tags(job.name, job.data_sha256, workplace.env) | {NOTE: description_of(job, workplace.launch)}
    run = workplace.open_run(run_dir, experiment, job.name, job.provenance.to_json(), tags)
    with ended_by_sigterm(), progress_bar(job.name) as bar, run:
        described = _described(job)
        run.attach(*described)  # what the data are, and what was found in their source
        for facts in map(parse_json, (file.read_text() for file in described[:1])):
            run.log_data(facts["space"]["name"], job.data_sha256, Path(job.data), facts)
        scores: dict[str, float] = {}

        def show(entries: list[dict], pictures: list[Picture]) -> None:
            for entry in entries:
                scores.update({name: value for name, value in entry.items() if SCORE in name})
            for entry in entries[-1:]:
                speed = entry["images_per_second"]
                note = f"{speed:{'.0f' if speed >= 10 else '.2g'}} images/s, loss {entry['loss']:.4g}"
                bar(entry["images"], entry["total_images"], note + scores_in_words(scores))

        with Follower(run_dir, [show, run]):
            launch(job, run_dir, workplace.launch)
    return finished_model(run_dir, job)


def _described(job: Job) -> list[Path]:
    """The files that describe its data."""
    return [file for name in (DESCRIPTION, LATENTS) if (file := Path(job.data) / name).is_file()]


def scores_in_words(scores: Mapping[str, float]) -> str:
    """The last scores of a training, as the end of a line of progress: ", fid_digits 31.2 at 1 NFE, 20.1 at 2 NFE"."""
    found = [(*name.split(SCORE), value) for name, value in scores.items()]
    parts = ", ".join(f"{value:.4g} at {int(nfe)} NFE" for _, nfe, value in found)
    return f", {found[0][0]} {parts}" if found else ""


def description_of(job: Job, launch: LaunchSettings) -> str:
    """A training in words, for MLflow's description of the run: what its numbers depend on beside its parameters."""
    taught_by = f" from the teacher {job.teacher_sha256[:12]}" if job.teacher_sha256 else ""
    went_before = f", after {job.lineage['name']} {job.lineage['sha256'][:12]}" if job.lineage else ""
    return (
        f"{job.name}{taught_by}{went_before}, on the data {job.data_sha256[:12]}, seed {job.recipe.seed}. Trained by "
        f"{launch.words()}: another number of workers or threads gives weights that differ by rounding."
    )


def finished_model(run_dir: Path, job: Job) -> SavedModel:
    """What a training made, to be sampled at the job's levels, which may have been others while it trained."""
    return SavedModel.open(run_dir / "model").at_levels(job.spec.levels)
