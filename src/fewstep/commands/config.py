"""`fewstep config`: every parameter with its value and where it comes from."""

import json
from itertools import accumulate
from pathlib import Path
from typing import Any

import click

from fewstep.commands.error_messages import refusing
from fewstep.commands.options import ENV, given_params, with_params
from fewstep.commands.project import context_of
from fewstep.support.errors import InvalidInput
from fewstep.support.names import nearest

WIDTH = 64  # of a parameter with its value, before the origin


@click.command()
@click.argument("names", nargs=-1)
@ENV
@click.option("--schema", is_flag=True, help="Print the JSON schema of the files instead, for an editor.")
def config(names: tuple[str, ...], env: str | None, schema: bool, params: str, params_file: Path | None) -> None:
    """Print the parameters of a run, all or those below NAMES, each with the file and line that it comes from.

    \b
        fewstep config
        fewstep config student.training launch --env=cifar10
        fewstep config student --params=recipe=ect
        fewstep config --schema > conf/parameters.schema.json
    """
    if schema:
        from fewstep.config.json_schema import json_schema

        click.echo(json.dumps(json_schema(), indent=1))
        return
    from fewstep.pipelines.origins import MarkingLoader, resolved

    context = context_of(env, runtime=given_params(params, params_file))
    rows = list(resolved(context.typed, MarkingLoader.like(context.config_loader).origins()))
    known = {prefix for name, *_ in rows for prefix in accumulate(name.split("."), "{}.{}".format)}
    for name in names:
        if name not in known:
            near = nearest(name, known)
            hint = f" Did you mean {near!r}?" if near else ""
            raise InvalidInput(f"There is no parameter {name!r}.{hint} fewstep config lists all.")
    for name, value, origin in rows:
        if not names or any(f"{name}.".startswith(f"{chosen}.") for chosen in names):
            click.echo(f"{f'{name}: {_text(value)}':<{WIDTH}} # {origin}")


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


config.params = with_params(config.params)
COMMANDS = (refusing(config),)
