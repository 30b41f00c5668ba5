"""The entry: what `kedro` has in this project, and `fewstep`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines
from kedro.pipeline import Pipeline

from fewstep.commands import demo, edit, evaluation, exchange, plan, registry, sample, serve, verify
from fewstep.commands.error_messages import refusing
from fewstep.commands.project import context_of
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

FILTERS = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs")


@click.group(name="fewstep")
def cli() -> None:
    """Commands of this project."""


def check_known(**options) -> None:
    """Raise InvalidInput for pipelines, nodes and data sets that `kedro run` was given and that do not exist."""
    names = [*filter(None, (options["pipeline"], *(options["pipelines"] or ())))]
    for name in names:
        check_name("pipeline", name, pipelines)
    nodes = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    for option in ("node_names", "from_nodes", "to_nodes"):
        for name in options[option] or ():
            check_name("node", name, nodes)
    chosen = sum((pipelines[name] for name in names or ["__default__"]), Pipeline([]))
    try:
        chosen.filter(**{option: options[option] or None for option in FILTERS})
    except ValueError as problem:  # Kedro's, in words: the choices leave nothing to run
        raise InvalidInput(str(problem)) from problem


def run_journey(**options) -> None:
    """What `kedro run` does; without pipelines, those of the journey that the chosen recipe needs."""
    check_known(**options)
    if not (options["pipeline"] or options["pipelines"] or options["conf_source"]):
        options["pipelines"] = journey_of(options["env"], options["params"])
    assert kedro_run.callback is not None
    kedro_run.callback(**options)


def journey_of(env: str | None, params: dict) -> list[str]:
    """The pipelines of the chosen recipe."""
    from fewstep.pipelines.journey import journey

    return journey(context_of(env, runtime=params).typed.student)


run = copy.copy(kedro_run)
run.callback = run_journey
cli.add_command(refusing(run))


@click.group()
def main() -> None:
    """Fewstep: what `kedro run` does not do. Each command has a --help with examples."""


for module in (plan, sample, edit, evaluation, demo, registry, exchange, serve, verify):
    for command in module.COMMANDS:
        main.add_command(command)
