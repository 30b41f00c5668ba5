"""`fewstep plan`: what a run would do, and what it would cost."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ENV, given_params, with_params
from fewstep.commands.project import context_of, ingest_of
from fewstep.pipelines.places import is_optional
from fewstep.support.errors import InvalidInput, UserError

if TYPE_CHECKING:
    from kedro.io import CatalogProtocol

    from fewstep.config.parameters import Parameters
    from fewstep.data.examples import Examples
    from fewstep.data.latent_store import LatentStore
    from fewstep.data.store import ArrayStore
    from fewstep.launch import LaunchSettings
    from fewstep.models.model import SavedModel
    from fewstep.pipelines.config_loader import Context
    from fewstep.step_cost import Cost
    from fewstep.training.job import Job
    from fewstep.training.loop import Worker
    from fewstep.training.recipe import Recipe

HOW = ("workplace",)  # inputs that do not change what is made
UNITS = ((365.25 * 86400, "years"), (86400.0, "days"), (3600.0, "hours"), (60.0, "minutes"), (0.0, "seconds"))
ELSEWHERE = ("students.", "network.", "env")  # parameters of other students, and what theirs repeat
WIDTH, WIDTHS = 64, {"inception": 2048, "clip": 768, "dinov2": 1024}  # features of an image, or about so many
ROWS = 256  # of random data, where there are none yet


@click.command()
@ENV
@click.option("--steps", default=10, show_default=True, type=click.IntRange(1), help="Steps of the trial.")
@click.option(
    "--seconds",
    default=60.0,
    show_default=True,
    type=click.FloatRange(0),
    help="About how long the trials may take together.",
)
def plan(env: str | None, params: str, params_file: Path | None, steps: int, seconds: float) -> None:
    """Print what a run would do and cost, measured by a short trial on this machine. It keeps no files.

    \b
        fewstep plan
        fewstep plan --env=cifar10 --params=recipe=scd
        fewstep plan --params=recipe=ect,network.channels=64 --steps=3
    """
    from fewstep.pipelines.journey import journey

    context = context_of(env, runtime=given_params(params, params_file))
    given, catalog = context.typed, context.catalog
    student = given.student
    how = "has a teacher" if student.needs_teacher else "learns from data alone"
    click.echo(f"{student.name} on {given.dataset}: it {how}")
    click.echo("\nstages")
    for line in _stages(journey(student, given.data.autoencoder), catalog):
        click.echo(f"  {line}")
    click.echo("\ndata")
    for line in _data(context):
        click.echo(f"  {line}")
    click.echo("\nscores")
    for line in _scores(given, catalog):
        click.echo(f"  {line}")
    click.echo("\nparameters that differ from the base")
    for line in _differences(given, context_of("base", student.name).typed):
        click.echo(f"  {line}")
    roles = ["teacher", "student"] if student.needs_teacher and not _teacher_is_there(context) else ["student"]
    seconds /= len(roles) - 1 + len(student.chain)
    with TemporaryDirectory() as folder:
        for role, job in jobs_to_try(roles, context, Path(folder)):
            names = f"{job.recipe.network['name']}, {job.recipe.objective.name}"
            click.echo(f"\n{role}: {names}; trying a few steps")
            for line in _costs(job, given.launch, steps, seconds):
                click.echo(f"  {line}")


plan.params = with_params(plan.params)


def _teacher_is_there(context: "Context") -> bool:
    """Whether there is a teacher of the network that these parameters ask for: `kedro run` trains another one."""
    from fewstep.networks import settings_of

    if not context.catalog.exists("teacher"):
        return False
    there, asked = context.catalog.load("teacher").spec.network, context.typed.teacher.network
    if alike := settings_of(there) == settings_of(asked):
        return alike
    click.echo("\nThe teacher that is there has another network than these parameters name: one of theirs is planned.")
    return False


def _stages(names: list[str], catalog: "CatalogProtocol") -> Iterator[str]:
    """Each with its inputs: there, made by a stage before it, or missing, but for those that it can do without."""
    from kedro.framework.project import pipelines

    made: set[str] = set()

    def state(name: str) -> str:
        return "there" if catalog.exists(name) else "made before" if name in made else "missing"

    for name in names:
        inputs = sorted(i for i in pipelines[name].inputs() if not i.startswith("params:") and i not in HOW)
        states = [f"{i} ({state(i)})" for i in inputs if state(i) != "missing" or not is_optional(catalog, i)]
        outputs = sorted(pipelines[name].all_outputs())
        made |= set(outputs)
        yield f"{name:9} {', '.join(states) or 'no inputs'} -> {', '.join(outputs) or 'the tracking store'}"


def _data(context: "Context") -> Iterator[str]:
    """What was found when they were ingested, or where they will come from."""
    from fewstep.data import describe

    if context.catalog.exists("images"):
        yield from describe(context.catalog.load("images"))
    else:
        source = ", ".join(f"{key} {value}" for key, value in context.typed.data.source.items())
        yield f"not ingested yet ({source}): {ingest_of(context)} reads them and says what it finds"


def _scores(given: "Parameters", catalog: "CatalogProtocol") -> Iterator[str]:
    """What evaluate generates, and how long comparisons of features take, whose cost grows with the square."""
    from fewstep.evaluation.neighbours import seconds_of_comparison

    asked, seeds = given.evaluation, given.evaluation.full_seeds if given.evaluation.full else given.evaluation.seeds
    taught = asked.teacher_nfe.values() if given.student.needs_teacher else ()
    nfes = [*asked.student_nfe, *(nfe for each in taught for nfe in each)]
    passes = asked.count * len(seeds) * sum(nfes)
    yield (
        f"{len(nfes)} rows of {asked.count:,} samples for each of {len(seeds)} seeds: "
        f"{passes:,} passes of a network for one sample"
    )
    if not catalog.exists("images") or catalog.load("images").space.kind == "points":
        return
    width = WIDTHS.get(asked.features.partition("-")[0], WIDTH)
    first, other = seconds_of_comparison(asked.count, len(catalog.load("images").images("train")), width)
    total = first + other * ((len(nfes) + 1) * len(seeds) - 1)  # with the floor
    yield f"precision, recall, density and coverage: {in_words(other)} a row and seed, {in_words(total)} in all"


def _differences(given: "Parameters", base: "Parameters") -> Iterator[str]:
    """Parameters of the run, but not those of other students."""
    from fewstep.config.parameters import to_json
    from fewstep.tracking.lineage import flatten

    here, there = (flatten(to_json(parameters)) for parameters in (given, base))
    names = sorted(n for n in here.keys() | there.keys() if not n.startswith(ELSEWHERE) and here.get(n) != there.get(n))
    yield from (f"{name}: {here.get(name, 'none')} (base: {there.get(name, 'none')})" for name in names)
    if not names:
        yield "none"


def jobs_to_try(roles: list[str], context: "Context", folder: Path) -> "Iterator[tuple[str, Job]]":
    """Each training, on data and from a teacher that are random where they are not there yet."""
    from fewstep.step_cost import untrained
    from fewstep.training.job import Job

    given, catalog = context.typed, context.catalog
    images = catalog.load("images") if catalog.exists("images") else _random_images(context, folder / "images")
    if given.data.autoencoder:
        there = catalog.exists("latents")
        images = catalog.load("latents") if there else _random_latents(images, given.data.autoencoder, folder)
    teacher = catalog.load("teacher") if catalog.exists("teacher") else None
    for role in roles:
        recipe: Recipe = getattr(given, role)
        if role == "student" and len(roles) == 2:
            teacher = untrained(Job.of(given.teacher, images), images, folder / "teacher")
        for job in chain_to_try(recipe, images, teacher, folder):
            yield role if job.name == recipe.name else f"before it, {job.name}", job


def chain_to_try(recipe: "Recipe", images: "Examples", teacher: "SavedModel | None", folder: Path) -> "Iterator[Job]":
    """The trainings of a recipe, each after a random model of its earlier one. folder: of these."""
    from fewstep.step_cost import untrained
    from fewstep.training.job import Job

    earlier = None
    for place, stage in enumerate(recipe.chain):
        if stage.objective.distance == "lpips" and _no_lpips():
            click.echo("\nLPIPS weights are not on this machine: the trial has random ones.")
            stage = replace(stage, objective=replace(stage.objective, distance="lpips_random"))
        job = Job.of(stage, images, teacher, earlier)
        yield job
        if stage.name != recipe.name:
            earlier = untrained(job, images, folder / f"earlier_{place}")


def _random_images(context: "Context", folder: Path) -> "ArrayStore":
    import numpy as np

    from fewstep.data import DataSpace, load_source
    from fewstep.data.store import DTYPES, write_store

    given = context.typed
    shape = load_source(given.data.source).shape
    if not shape:
        raise InvalidInput(
            f"the size of the images is known only from the data: run {ingest_of(context)}, and plan again."
        )
    click.echo("\nThe data are not there: the trial has random ones, of one class.")
    space = DataSpace(given.dataset, "points" if len(shape) == 1 else "images", shape, 1.0, ("any",))
    rows = np.random.default_rng(0).integers(0, 256, (ROWS, *shape)).astype(DTYPES[space.kind])
    return write_store(folder, rows, np.zeros(ROWS, np.int64), space, train=ROWS - 1)


def _random_latents(images: "ArrayStore", autoencoder: str, folder: Path) -> "LatentStore":
    """Latents of a few of these images, of random numbers: the autoencoder is not asked for them."""
    import numpy as np

    from fewstep.autoencoders import Autoencoder
    from fewstep.data.latent_space import LatentSpace
    from fewstep.data.latent_store import DTYPE, LATENTS, describe_latents
    from fewstep.data.store import write_store

    rows, labels = images.images("train")[:ROWS], images.labels("train")[:ROWS]
    few = write_store(folder / "few", rows, labels, images.space, train=len(rows) - 1, scale=images.space.scale)
    space, place = LatentSpace.of(images.space, Autoencoder.open(autoencoder)), folder / "latents"
    place.mkdir()
    latents = np.random.default_rng(0).standard_normal((len(rows), 2, *space.model_shape))
    np.save(place / LATENTS, latents.astype(DTYPE))
    return describe_latents(place, few, space)


def _no_lpips() -> bool:
    from fewstep.losses.distances import check_distance

    try:
        check_distance("lpips")
    except UserError:
        return True
    return False


def tried(job: "Job", settings: "LaunchSettings", steps: int, seconds: float) -> "Cost":
    """What a step of a worker costs on this machine. steps, seconds: of the trial, at most."""
    from fewstep.step_cost import cpu_threads, try_steps

    share = job.recipe.training.batch_size // max(1, settings.workers)
    settings.set_float32_precision(job, settings.device())
    with cpu_threads(settings.threads_here()):
        return try_steps(job, share, plain_worker(job, settings), steps, seconds)


def plain_worker(job: "Job", settings: "LaunchSettings") -> "Worker":
    """The worker of a trial, whose networks are not compiled: that would take longer than the trial."""
    worker = settings.worker(job, settings.device())
    return replace(worker, compiled=False, recomputes=worker.recomputes or is_cut(job, settings))


def is_cut(job: "Job", settings: "LaunchSettings") -> bool:
    """Whether the workers cut the state of the training among them."""
    return settings.workers > 1 and settings.shards(job, settings.device())


def _costs(job: "Job", settings: "LaunchSettings", steps: int, seconds: float) -> Iterator[str]:
    from fewstep.step_cost import cpu_threads, try_steps

    numbers = job.recipe.training
    share, device = numbers.batch_size // max(1, settings.workers), settings.device()
    threads, end = settings.threads_here(), time.monotonic() + seconds
    cost = tried(job, settings, steps, seconds)
    batch = f"{share} of each of {settings.workers} workers" if settings.workers > 1 else f"{share}"
    yield f"{cost.weights:,} weights"
    yield f"a step of {batch}: {cost.flops / 1e12:.3g} TFLOP, of {cost.flops / share / 1e9:.3g} GFLOP a sample"
    steps_of = f"{cost.steps} step{'s' * (cost.steps > 1)} of {cost.tried} sample{'s' * (cost.tried > 1)}"
    how = f"{device}, {threads} thread{'s' * (threads > 1)}; {steps_of}"
    bound = "at most " if cost.tried < share else ""
    whole = f"{in_words(cost.seconds * numbers.steps)} in all for {numbers.steps:,} steps"
    yield f"time: {bound}{in_words(cost.seconds)} a step on this machine ({how}), {whole}"
    if device.type == "cpu" and threads > 1 and time.monotonic() < end:
        with cpu_threads(1):
            alone = try_steps(job, share, plain_worker(job, settings), steps, seconds / 4).seconds
        yield from waiting_threads(threads, cost.seconds, alone, numbers.steps)
    whole, cut = numbers.micro_batch_size or share, is_cut(job, settings)
    if cut:
        cost = replace(cost, state_bytes=cost.state_bytes / settings.workers)
    for samples in dict.fromkeys([whole, _fitting(cost, whole, 24, job.recipe.objective.group)]):
        size = cost.gpu(samples)
        held = f"{cost.memory(samples) / 2**30:.3g} GiB in fp32{' on each worker' * cut}"
        on = f"fits on a GPU of {size} GiB" if size else "fits on no single GPU"
        yield f"memory: {held} with {samples} samples at once (training.micro_batch_size): {on}"


def waiting_threads(threads: int, together: float, alone: float, steps: int) -> Iterator[str]:
    """Where one is the faster: other processes use the cores, and threads wait for each other at every operation."""
    if alone < 0.7 * together:
        yield (
            f"threads: {threads} wait for each other, as on a machine that does other work; one alone (--params="
            f"launch.threads=1) takes {in_words(alone)} a step, {in_words(alone * steps)} in all"
        )


def _fitting(cost: "Cost", whole: int, size: int, group: int) -> int:
    """The most samples at once, whole halved, that fit on a GPU of this size and cut no group."""
    while whole > 1 and whole % (2 * group) == 0 and (cost.gpu(whole) or 10**9) > size:
        whole //= 2
    return whole


def in_words(seconds: float) -> str:
    """A time in the unit that suits it: "2.5 hours"."""
    unit, name = next((unit, name) for unit, name in UNITS if seconds >= 2 * unit)
    return f"{seconds / (unit or 1):.3g} {name}"


COMMANDS = (refusing(plan),)
