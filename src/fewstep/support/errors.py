"""What a user can get wrong: one family of exceptions, raised on purpose. Any other exception is a bug."""

from typing import Any, Self

LONGEST = 200  # letters of a value that is shown
LONGEST_MESSAGE = 4000  # letters: names and values of a damaged file can have any number


def shown(value: object) -> str:
    """A value as a message has it: the beginning of a long one."""
    words = repr(value)
    return words if len(words) <= LONGEST else f"{words[:LONGEST]}..."


def reason_of(error: Exception) -> str:
    """Why something failed, in words: what the system says without its number, or the kind of an error that is mute."""
    if isinstance(error, KeyError) and error.args:
        return str(error.args[0]) if " " in str(error.args[0]) else f"{error.args[0]} is missing"
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


class UserError(Exception):
    """A sentence about what the user can put right.

    field, value, allowed: the parameter at fault, what it was given, and what it must be, in words, so that no caller
    has to parse the sentence; None where no single parameter is at fault.
    """

    def __init__(self, message: str, *, field: str | None = None, value: object = None, allowed: str | None = None):
        if len(message) > LONGEST_MESSAGE:
            message = f"{message[:LONGEST_MESSAGE]}..."
        super().__init__(message)
        self.message, self.field, self.value, self.allowed = message, field, value, allowed

    @classmethod
    def of(cls, field: str, value: object, allowed: str) -> Self:
        """The error of one parameter: "clip must be at least 0, got -1"."""
        return cls(f"{field} must be {allowed}, got {shown(value)}", field=field, value=value, allowed=allowed)

    def inside(self, place: str) -> Self:
        """The same error, with the section of its parameter: "training.clip must be at least 0, got -1"."""
        if self.field is None:
            return type(self)(f"{place}: {self.message}")
        return type(self).of(f"{place}.{self.field}", self.value, self.allowed or "another value")

    def __str__(self) -> str:
        return self.message


class InvalidInput(UserError, ValueError):
    """A parameter, a name, a file or a state of things that cannot be used."""


class StorageError(UserError, OSError):
    """A disk that is full, or a file that cannot be written. number: the system's, as in errno."""

    def __init__(self, message: str, number: int | None = None, **facts: Any):
        super().__init__(message, **facts)
        self.errno = number


class Unreachable(UserError, ConnectionError):
    """A server that does not answer."""


class Divergence(UserError, RuntimeError):
    """A training whose loss or gradient is no longer finite."""


class OutOfMemory(UserError, MemoryError):
    """A GPU or a machine with too little memory for what was asked of it."""


FAMILY = {kind.__name__: kind for kind in (InvalidInput, StorageError, Unreachable, Divergence, OutOfMemory)}


def family_of(error: UserError) -> str:
    """The name in FAMILY of the class, or of the nearest above it: what crosses to another process."""
    return next((kind.__name__ for kind in type(error).__mro__ if kind.__name__ in FAMILY), "InvalidInput")
