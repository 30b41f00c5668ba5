"""`fewstep profile`: where the time of training steps goes."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ENV, given_params, with_params
from fewstep.commands.project import context_of

TEACHER = "teacher"


@click.command()
@click.argument("recipe")
@ENV
@click.option("--steps", default=5, show_default=True, type=click.IntRange(1), help="Steps in the trace.")
@click.option(
    "--out",
    default="trace.json",
    show_default=True,
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    help="The trace, for chrome://tracing or https://ui.perfetto.dev.",
)
def profile(recipe: str, env: str | None, steps: int, out: Path, params: str, params_file: Path | None) -> None:
    """Write a trace of some training steps of a recipe (or of the teacher) on this machine, and sum it up.

    \b
        fewstep profile ect
        fewstep profile teacher --env=cifar10 --steps=2 --out=teacher.json
        fewstep profile scd --params=launch.compile=true,student.training.batch_size=64
    """
    given = given_params(params, params_file)
    context = context_of(env, None if recipe == TEACHER else recipe, runtime=given)
    from fewstep.commands.plan import jobs_to_try
    from fewstep.step_cost import cpu_threads, trial_of
    from fewstep.training.profiling import profile_steps

    launch = context.typed.launch
    device, role = launch.device(), TEACHER if recipe == TEACHER else "student"
    roles = [TEACHER, "student"] if role == "student" and not context.catalog.exists(TEACHER) else [role]
    with TemporaryDirectory() as folder, cpu_threads(launch.threads_here()):
        job = dict(jobs_to_try(roles, context, Path(folder)))[role]
        launch.set_float32_precision(job, device)
        share = job.recipe.training.batch_size // max(1, launch.workers)
        with trial_of(job, share, launch.worker(job, device)) as training:
            found = profile_steps(training, steps, out)
            how = f"{device}, {launch.threads_here()} threads, {'compiled' if training.compiled else 'not compiled'}"
    click.echo(f"{job.name}, on {how}")
    for line in found.lines():
        click.echo(line)
    click.echo(f"the trace is {out}")


profile.params = with_params(profile.params)
COMMANDS = (refusing(profile),)
