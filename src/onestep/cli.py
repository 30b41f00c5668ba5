"""Commands: what `kedro` has in this project, and `onestep`."""

import copy

import click
from kedro.framework.cli.project import run as kedro_run


class Refusal(click.ClickException):
    """What a user can put right, as a message without a traceback."""

    def show(self, file=None) -> None:
        click.secho(f"Error: {self.message}", fg="red", err=True)


def refusing(command: click.Command) -> click.Command:
    """The command, with errors that are the user's to mend shown as messages."""

    def callback(*args, **kwargs):
        try:
            return command.callback(*args, **kwargs)
        except (ValueError, OSError, RuntimeError) as error:
            if isinstance(error, click.ClickException) or not _is_ours(error):
                raise
            raise Refusal(str(error)) from error

    wrapped = copy.copy(command)
    wrapped.callback = callback
    return wrapped


def _is_ours(error: BaseException) -> bool:
    """Whether onestep raised it, and not a library below."""
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("onestep.")


@click.group(name="onestep")
def cli() -> None:
    """Commands of this project."""


run = refusing(kedro_run)
cli.add_command(run)


@click.group()
def main() -> None:
    """Onestep: what `kedro run` does not do."""


@main.group()
def registry() -> None:
    """The registered models."""


@registry.command()
@click.option("--env", default=None, help="The configuration, as for kedro run.")
@click.option("--recipe", default=None, help="The student, by default that of the configuration.")
def sync(env: str | None, recipe: str | None) -> None:
    """Register again what DVC has brought: onestep registry sync --env=base"""
    from pathlib import Path

    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path.cwd())
    params = {"recipe": recipe} if recipe else {}
    with KedroSession.create(Path.cwd(), env=env, runtime_params=params) as session:
        catalog = session.load_context().catalog
        print(catalog)
