"""Errors that are the user's to mend, as messages."""

import copy
from collections.abc import Callable, Iterator

import click


class Refusal(click.ClickException):
    """What a user can put right, as a message without a traceback."""

    def show(self, file=None) -> None:
        click.secho(f"Error: {self.message}", fg="red", err=True)


def refusing(command: click.Command, check: Callable[..., None] = lambda **_: None) -> click.Command:
    """The command, with errors that are the user's to mend shown as messages. check: of its options, before it."""

    def callback(*args, **kwargs):
        try:
            check(**kwargs)
            return command.callback(*args, **kwargs)
        except click.ClickException:
            raise
        except Exception as error:
            ours = next((e for e in _causes(error) if _is_ours(e)), None)
            if ours is None:
                raise
            raise Refusal(str(ours)) from error

    wrapped = copy.copy(command)
    wrapped.callback = callback
    return wrapped


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error and what it was raised from: Kedro wraps what a data set raises."""
    while error is not None:
        yield error
        error = error.__cause__


def _is_ours(error: BaseException) -> bool:
    """Whether fewstep raised it for a person to read, and not a library below."""
    if not isinstance(error, ValueError | OSError | RuntimeError):
        return False
    trace = error.__traceback__
    while trace.tb_next:
        trace = trace.tb_next
    return trace.tb_frame.f_globals.get("__name__", "").startswith("fewstep.")
