"""The entry: what `kedro` has in this project, and `onestep`."""

import click
from kedro.framework.cli.project import run as kedro_run

from onestep.commands import demo, edit, evaluation, exchange, plan, registry, sample
from onestep.commands.refusals import refusing


@click.group(name="onestep")
def cli() -> None:
    """Commands of this project."""


run = refusing(kedro_run)
cli.add_command(run)


@click.group()
def main() -> None:
    """Onestep: what `kedro run` does not do. Each command has a --help with examples."""


for module in (plan, sample, edit, evaluation, demo, registry, exchange):
    for command in module.COMMANDS:
        main.add_command(command)
