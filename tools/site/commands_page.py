"""The commands of `fewstep` as a page, from what click knows of them."""

import inspect
import re
from collections.abc import Iterator

import click

from fewstep.cli import main


def commands_page() -> str:
    """What follows the head of docs/reference/commands.md."""
    return "\n".join(_section(main, ("fewstep",)))


def _section(command: click.Command, path: tuple[str, ...]) -> Iterator[str]:
    """A command with those below it."""
    context = click.Context(command, info_name=" ".join(path))
    if isinstance(command, click.Group):
        if len(path) > 1:
            yield f"## {' '.join(path)}\n\n{command.get_short_help_str(500)}\n"
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            assert below is not None
            yield from _section(below, (*path, name))
        return
    yield f"{'#' * len(path)} {' '.join(path)}\n"
    yield f"```text\n{command.get_usage(context).removeprefix('Usage: ')}\n```\n"
    yield _words(command.help or "")
    records = [record for option in command.params if (record := option.get_help_record(context)) and record[1]]
    if records:
        yield "\n| option | |\n|--|--|"
        yield from (f"| `{_cell(name)}` | {_cell(words).replace('[', chr(92) + '[')} |" for name, words in records)
    yield ""


def _words(help_text: str) -> str:
    """A help text; what it does not wrap are commands."""
    paragraphs = inspect.cleandoc(help_text).split("\n\n")
    return "\n\n".join(
        f"```bash\n{inspect.cleandoc(text[1:].strip(chr(10)))}\n```" if text.startswith("\b") else text
        for text in paragraphs
    )


def _cell(text: str) -> str:
    """Text for a cell of a table."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;")
