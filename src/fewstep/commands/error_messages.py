"""What a command shows when it fails: a sentence for what the user can put right, the traceback of a bug."""

import copy
import errno
import os
import traceback
from collections.abc import Callable, Iterator
from typing import IO, Any

import click
from kedro.config import MissingConfigException
from kedro.io import DatasetError

import fewstep
from fewstep.support.errors import UserError

TRACEBACK = "FEWSTEP_TRACEBACK"  # 1: the traceback of a user's error too
TRACKER = "the project's issue tracker"
BAD_ENTRY = "must only contain arguments valid for the constructor"  # Kedro's words
MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)
MACHINE += (errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)


class Message(click.ClickException):
    """An error that the user can put right, as one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        if os.environ.get(TRACEBACK) == "1":
            _print_traceback(self.__cause__)
        click.secho(f"Error: {self.message}", fg="red", err=True)


class Bug(click.ClickException):
    """Any other error: its traceback, and where to report it."""

    def show(self, file: IO[Any] | None = None) -> None:
        _print_traceback(self.__cause__)
        click.echo(f"This is a bug in Fewstep {fewstep.__version__}. Please report it to {TRACKER}.", err=True)


def refusing(command: click.Command, check: Callable[..., None] = lambda **_: None) -> click.Command:
    """The command, with its errors shown as messages or bugs. check: of its options, before it runs."""

    own = command.callback
    assert own is not None

    def callback(*args: Any, **kwargs: Any) -> Any:
        try:
            check(**kwargs)
            return own(*args, **kwargs)
        except (click.ClickException, click.Abort, click.exceptions.Exit, BrokenPipeError):
            raise  # click shows these itself
        except Exception as error:
            message = message_of(error)
            raise (Bug(str(error)) if message is None else Message(message)) from error

    wrapped = copy.copy(command)
    wrapped.callback = callback
    return wrapped


def message_of(error: BaseException) -> str | None:
    """The sentence for the user; None for a bug. What Kedro raises from a user's error is the user's error."""
    chain = list(causes(error))
    for cause in chain:
        if isinstance(cause, UserError) or (isinstance(cause, OSError) and cause.errno in MACHINE):
            return str(cause) if isinstance(cause, UserError) else _of_the_machine(cause)
    if isinstance(error, MissingConfigException):
        return str(error)
    if isinstance(error, DatasetError) and BAD_ENTRY in str(error):  # the catalog lacks an argument, or has another
        return f"the catalog (conf/*/catalog.yml) cannot be used: {' '.join(str(error).split())}"
    # Kedro names the data set and the file that it could not read: nothing of ours failed if all else are OSErrors.
    if isinstance(error, DatasetError) and all(isinstance(cause, DatasetError | OSError) for cause in chain):
        return " ".join(line for line in str(error).splitlines() if not line.startswith("Hint:"))
    return None


def _of_the_machine(error: OSError) -> str:
    """What the system refuses, in words, without its number."""
    return ": ".join(filter(None, (error.strerror, error.filename and str(error.filename)))) or str(error)


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from."""
    while error is not None:
        yield error
        error = error.__cause__


def _print_traceback(error: BaseException | None) -> None:
    click.echo("".join(traceback.format_exception(error)), err=True, nl=False)
