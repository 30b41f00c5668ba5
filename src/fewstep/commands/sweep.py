"""`fewstep sweep`: a student for each combination of parameters, and a table of their scores."""

import json
import os
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ENV, PARAMS_FILE, given_params
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from fewstep.commands.sweep_trials import Sweep, Trial
    from fewstep.pipelines.config_loader import Context
    from fewstep.reporting.sweep_table import Outcome
    from fewstep.tracking import Run
    from fewstep.training.job import Job

SECONDS = 20.0  # that trying the steps of one kind of trial takes, at most about


@click.command()
@click.argument("words", nargs=-1, required=True, metavar="NAME=VALUE[,VALUE]...")
@ENV
@click.option(
    "--sampler",
    default=None,
    type=click.Choice(["tpe", "gp", "qmc", "random"]),
    help="Optuna's, which draws the values by the scores so far.  [default: every combination]",
)
@click.option("--trials", "count", default=None, type=click.IntRange(1), help="What the sampler draws.  [default: 20]")
@click.option("--plan", "planning", is_flag=True, help="Print the trials and their estimated time, and train nothing.")
def sweep(
    words: tuple[str, ...],
    env: str | None,
    params_file: Path | None,
    sampler: str | None,
    count: int | None,
    planning: bool,
) -> None:
    """Train and score a student for each combination of parameters, one after another.

    Several values are a list (3e-4,1e-3) or a range (from:to:number, or from:to:number:log at equal ratios). seeds=3
    trains each combination with the seeds 0, 1 and 2. The teacher is scored once. Each student has a folder of its own,
    below sweeps in data/06_models. After an interruption, run the same command again. Other sweeps reuse finished
    trials. With --sampler values may also be intervals (from:to, or from:to:log).

    \b
        fewstep sweep recipe=ect student.training.learning_rate=3e-4,1e-3,3e-3
        fewstep sweep recipe=cd,ect student.training.learning_rate=1e-4:1e-2:3:log seeds=3 --plan
        fewstep sweep recipe=ct student.training.batch_size=32,64 student.training.images=64000
        fewstep sweep recipe=ect student.training.learning_rate=1e-4:1e-2:log --sampler tpe --trials 20
    """
    from fewstep.commands.sweep_search import search
    from fewstep.commands.sweep_trials import Sweep, TrialMaker
    from fewstep.pipelines.sweep_words import read_axes

    if count and not sampler:
        raise InvalidInput("--trials is the number of trials that a sampler draws: add --sampler tpe.")
    axes = read_axes(words, drawn=bool(sampler))
    maker = TrialMaker.of(env, axes, given_params("", params_file))
    found = search(axes, maker, sampler, count or 20) if sampler else Sweep.of_all(axes, maker)
    if planning:
        for line in _plan(found, maker.context):
            click.echo(line)
    else:
        _run(found, maker.context)


sweep.params.append(PARAMS_FILE)


def _run(sweep: "Sweep", context: "Context") -> None:
    """Every trial, below one MLflow run, and the table."""
    from fewstep.reporting.sweep_table import sweep_table
    from fewstep.support.files import write_text
    from fewstep.support.processes import ended_by_sigterm
    from fewstep.tracking.notify import notify

    run, folder = _parent(sweep, context)
    with ended_by_sigterm(), _told_of_failure(context), run:
        done = _train(sweep, run, folder)
        if not done:
            raise InvalidInput("nothing that the sampler proposed can be trained: the lines above say why.")
        found = [outcome for _, outcome in done]
        table = sweep_table(found)
        write_text(folder / "table.txt", f"{table}\n")
        run.attach(folder / "trials.csv", folder / "table.txt")
        _log_best(run, found)
    said = f"{len(found)} trials of {sweep.recipes} on {context.typed.dataset} have ended"
    notify(context.typed.tracking.notify, "finished", said, table=table)
    click.echo(f"\n{table}\n\ntrials: {os.path.relpath(folder / 'trials.csv')}")
    if all(each.scores is None for each in found):
        raise InvalidInput("no trial has scores: the table says why.")
    click.echo(f"next, to score and register the best: {_command(done)}")


def _train(sweep: "Sweep", run: "Run", folder: Path) -> "list[tuple[Trial, Outcome]]":
    """The trials with what came of them; one that a sampler has proposed again is there once."""
    from fewstep.reporting.sweep_table import trials_csv
    from fewstep.support.files import write_text

    outcomes, done = list["Outcome"](), dict[str, "tuple[Trial, Outcome]"]()
    for number, trial in enumerate(sweep.propose(outcomes), 1):
        before = trial.finished()
        click.echo(f"\ntrial {number} of {sweep.total}: {trial.words}{', finished before' if before else ''}")
        outcomes.append(before or trial.run(run.run_id))
        click.echo(outcomes[-1].note, nl=bool(outcomes[-1].note))
        done[trial.params["trial"]] = trial, outcomes[-1]
        write_text(folder / "trials.csv", trials_csv([outcome for _, outcome in done.values()]))
    return list(done.values())


@contextmanager
def _told_of_failure(context: "Context") -> Generator[None]:
    """Whoever is to be notified is told if the sweep fails; its trials notify nobody."""
    from fewstep.tracking.notify import notify

    try:
        yield
    except Exception as error:
        said = f"a sweep on {context.typed.dataset} has failed: {error}"
        notify(context.typed.tracking.notify, "failed", said)
        raise


def _parent(sweep: "Sweep", context: "Context") -> "tuple[Run, Path]":
    """The MLflow run of the sweep, below which its trials are, and its folder."""
    from fewstep.commands.sweep_trials import FOLDER
    from fewstep.tracking import open_run, run_tags

    catalog = context.catalog
    folder = Path(catalog.load("runs")) / FOLDER / sweep.name
    tags = run_tags(sweep.recipes, sweep.known[0].job.data_sha256, context.typed.env)
    backend, name = catalog.load("tracking"), f"sweep {sweep.title}"[:200]
    return open_run(folder, context.typed.dataset, name, backend, sweep.varied, tags), folder


def _log_best(run: "Run", outcomes: "Sequence[Outcome]") -> None:
    """The best primary score, on the run of the sweep."""
    from fewstep.reporting.sweep_table import grouped

    group = grouped(outcomes)[0]
    for best in group.scored[:1]:
        assert best.scores is not None
        nfe = min(row.nfe for row in best.scores.usual_rows_of(best.model))
        score = group.score(nfe)
        assert score is not None
        run.log_scores({f"{best.scores.primary}/nfe_{nfe:02d}": score.mean})


def _command(done: "Sequence[tuple[Trial, Outcome]]") -> str:
    """The command that scores and registers the best student. Its training is there already."""
    from fewstep.pipelines.places import command_of
    from fewstep.reporting.sweep_table import grouped

    best = grouped([outcome for _, outcome in done])[0].scored[0]
    trial = next(trial for trial, outcome in done if outcome is best)
    params = {name: value for name, value in trial.params.items() if name != "trial"}
    return command_of(env=trial.env, params=params)


def _plan(sweep: "Sweep", context: "Context") -> Iterator[str]:
    """A line for each trial that is known, and what all take together."""
    from fewstep.commands.plan import in_words
    from fewstep.reporting.table import aligned

    costs, trials = _Costs(context), sweep.known
    lines, left = [["trial", *(name.rpartition(".")[2] for name in trials[0].values), "steps", "time"]], list[float]()
    for number, trial in enumerate(trials, 1):
        seconds = None if trial.finished() else costs.seconds(trial)
        left.append(seconds or 0.0)
        time = "finished" if seconds is None else in_words(seconds)
        lines.append([str(number), *trial.values.values(), f"{trial.job.recipe.training.steps:,}", time])
    yield aligned(lines, text=0)
    measured = "of training on this machine, from a few steps of each kind; scores come on top"
    if sweep.sampler:
        yield f"\nthese are the ends of what {sweep.sampler} draws from: {sweep.total} trials take at most about"
        yield f"{in_words(max(left) * sweep.total)} {measured}"
    else:
        yield f"\nin all {in_words(sum(left))} {measured}"


class _Costs:
    """What trials take on this machine: each kind of training is tried once, and each training is counted once."""

    def __init__(self, context: "Context"):
        self.context = context
        self.counted, self.of_a_step = set[str](), dict[str, float]()

    def seconds(self, trial: "Trial") -> float:
        """Of the trainings of a trial that no trial before it needs too."""
        new = [job for job in trial.chain if job.run_name not in self.counted]
        self.counted.update(job.run_name for job in new)
        if not {_kind(job) for job in new} <= self.of_a_step.keys():
            self._try(trial.chain)
        return sum(self.of_a_step[_kind(job)] * job.recipe.training.steps for job in new)

    def _try(self, chain: "Sequence[Job]") -> None:
        """A few steps of each of these trainings."""
        from fewstep.commands.plan import chain_to_try, tried

        catalog, launch = self.context.catalog, self.context.typed.launch
        data, teacher = catalog.load("latents") or catalog.load("images"), catalog.load("teacher")
        with TemporaryDirectory() as folder:
            for job, begun in zip(chain, chain_to_try(chain[-1].recipe, data, teacher, Path(folder)), strict=True):
                if _kind(job) not in self.of_a_step:
                    self.of_a_step[_kind(job)] = tried(begun, launch, steps=10, seconds=SECONDS).seconds


def _kind(job: "Job") -> str:
    """What the time of a step depends on."""
    facts, numbers = job.recipe.to_json(), job.recipe.training
    kind = [facts["network"], facts["objective"], facts["preconditioning"], numbers.batch_size]
    return json.dumps([*kind, numbers.micro_batch_size, numbers.precision, numbers.labels], sort_keys=True)


COMMANDS = (refusing(sweep),)
