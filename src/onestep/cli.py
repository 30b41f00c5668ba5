"""The entry: what `kedro` has in this project, and `onestep`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines

from onestep.commands import demo, edit, evaluation, exchange, plan, registry, sample
from onestep.commands.refusals import refusing
from onestep.diffusion.names import check_name


@click.group(name="onestep")
def cli() -> None:
    """Commands of this project."""


def run_known(**options):
    """`kedro run`, once the pipelines and nodes that it was given are known to be there."""
    for name in filter(None, (options["pipeline"], *(options["pipelines"] or ()))):
        check_name("pipeline", name, pipelines)
    nodes = {node.name for pipeline in pipelines.values() for node in pipeline.nodes}
    for option in ("node_names", "from_nodes", "to_nodes"):
        for name in options[option] or ():
            check_name("node", name, nodes)
    return kedro_run.callback(**options)


run = copy.copy(kedro_run)
run.callback = run_known
run = refusing(run)
cli.add_command(run)


@click.group()
def main() -> None:
    """Onestep: what `kedro run` does not do. Each command has a --help with examples."""


for module in (plan, sample, edit, evaluation, demo, registry, exchange):
    for command in module.COMMANDS:
        main.add_command(command)
