"""Commands that are imported when they are asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group that imports the module of the command it runs and no other: some of them take seconds.

    modules: {name of a command: module that has it in COMMANDS}.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **more: Any):
        super().__init__(*args, **more)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.modules)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.modules:
            return None
        return next(each for each in import_module(self.modules[cmd_name]).COMMANDS if each.name == cmd_name)
