"""Choosing by name: a wrong one is answered with the nearest."""

import difflib
from collections.abc import Callable, Iterable
from inspect import Parameter, signature
from typing import Any

from fewstep.support.errors import LONGEST, InvalidInput, shown


def check_name(what: str, name: object, allowed: Iterable[str], of: str = "") -> str:
    """name, if it is allowed; else InvalidInput with what was given, what is allowed and the nearest name.

    what: what is named, and of: what it belongs to, as in "There is no {field} 'stepz' of {a request}."
    """
    allowed = sorted(allowed)
    if isinstance(name, str) and name in allowed:
        return name
    near = nearest(str(name), allowed)
    hint = f" Did you mean {near!r}?" if near else ""
    owner, names = f" of {of}" if of else "", ", ".join(allowed) or "none"
    raise InvalidInput(f"There is no {what} {shown(name)}{owner}.{hint} Allowed: {names}.", value=name, allowed=names)


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The name that is spelt much like this word, if there is one."""
    found = difflib.get_close_matches(word, names, n=1) if len(word) <= LONGEST else []
    return found[0] if found else None


def check_arguments(of: str, function: Callable[..., Any], given: Iterable[str], bound: Iterable[str] = ()) -> None:
    """InvalidInput for an argument that a function does not have. bound: arguments that are not the user's to give."""
    known = [p.name for p in signature(function).parameters.values() if p.kind is not Parameter.VAR_KEYWORD]
    for name in given:
        check_name("argument", name, set(known) - set(bound), of)


def printable(name: str) -> str:
    """The name of a file as text that any file or terminal takes: bytes that are not UTF-8 are written as \\udcff, and
    control characters as \\x1b."""
    shown = "".join(sign if sign.isprintable() or ord(sign) > 159 else ascii(sign)[1:-1] for sign in name)
    return shown.encode("utf-8", "backslashreplace").decode("utf-8")
