"""A sweep whose values are drawn by a sampler of Optuna, each after the scores of those before it (the extra "optuna").

No state is kept: the sampler has a fixed seed and the finished trials their scores, so the same command makes the same
proposals again, and goes on where it stopped.
"""

import math
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from fewstep.commands.sweep_trials import Sweep, Trial, TrialMaker, varied_of
from fewstep.pipelines.sweep_words import MOST, SEED, Axis, combinations, corners
from fewstep.reporting.sweep_table import Outcome, headline
from fewstep.support.errors import InvalidInput

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution  # pyright: ignore[reportMissingImports] (of the extra "optuna")

SAMPLERS = {"tpe": "TPESampler", "gp": "GPSampler", "qmc": "QMCSampler", "random": "RandomSampler"}
RANDOM_SEED = 0  # of the sampler


def search(axes: Sequence[Axis], maker: TrialMaker, sampler: str, count: int) -> Sweep:
    """`count` proposals of a sampler, each with all seeds if several are given.

    Every value of a list and both ends of every interval are checked first. Raises InvalidInput for one that could not
    be trained, if there is nothing to draw, and without Optuna.
    """
    if not find_spec("optuna"):
        raise InvalidInput("--sampler needs the package optuna: pip install 'fewstep[optuna]'")
    if not _drawn(axes):
        raise InvalidInput(
            "--sampler needs a parameter with several values, or with an interval such as 1e-4:1e-2:log."
        )
    total = count * len(_repeated(axes))
    if total > MOST:
        raise InvalidInput(f"a sweep must have at most {MOST:,} trials, got {total:,}: lower --trials or seeds.")
    known = maker.trials(corners(axes))

    def propose(found: Sequence[Outcome]) -> Iterator[Trial]:
        return _proposals(axes, maker, sampler, count, found)

    return Sweep(known, total, varied_of(axes), propose, sampler)


def _proposals(
    axes: Sequence[Axis], maker: TrialMaker, sampler: str, count: int, found: Sequence[Outcome]
) -> Iterator[Trial]:
    """The trials of a sampler; what it proposes and cannot be trained is said and left out, as infinitely bad.

    found: what came of the trials so far, which the caller adds to before it asks for the next one.
    """
    import optuna  # pyright: ignore[reportMissingImports] (of the extra "optuna")

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
        study = optuna.create_study(sampler=getattr(optuna.samplers, SAMPLERS[sampler])(seed=RANDOM_SEED))
    space = {axis.name: _distribution(axis) for axis in _drawn(axes)}
    first = {axis.name: axis.values[0] for axis in axes}
    for _ in range(count):
        asked, before = study.ask(space), len(found)
        values = {axis.name: _typed(axis, asked.params[axis.name]) for axis in _drawn(axes)}
        try:
            trials = [maker.trial({**first, **values, **repeated}) for repeated in _repeated(axes)]
        except InvalidInput as problem:  # such as a batch size that the workers cannot share
            click.echo(f"\n{sampler} proposed {_in_words(values)}, which is left out: {problem}")
            study.tell(asked, math.inf)
            continue
        yield from trials
        study.tell(asked, headline(found[before:]))


def _in_words(values: dict[str, str]) -> str:
    """Values as they are typed: "learning_rate=3e-4 batch_size=37"."""
    return " ".join(f"{name.rpartition('.')[2]}={value}" for name, value in values.items())


def _drawn(axes: Sequence[Axis]) -> list[Axis]:
    return [axis for axis in axes if len(axis.values) > 1 and axis.name != SEED]


def _repeated(axes: Sequence[Axis]) -> list[dict[str, str]]:
    """The seeds with which each proposal is trained."""
    return list(combinations([axis for axis in axes if axis.name == SEED]))


def _distribution(axis: Axis) -> "BaseDistribution":
    from optuna.distributions import (  # pyright: ignore[reportMissingImports] (of the extra "optuna")
        CategoricalDistribution,
        FloatDistribution,
        IntDistribution,
    )

    if axis.interval is None:
        return CategoricalDistribution(axis.values)
    low, high, log = axis.interval.low, axis.interval.high, axis.interval.log
    return (
        IntDistribution(int(low), int(high), log=log) if axis.interval.whole else FloatDistribution(low, high, log=log)
    )


def _typed(axis: Axis, value: Any) -> str:
    """A value as one types it."""
    return f"{value:.4g}" if axis.interval and not axis.interval.whole else str(value)
