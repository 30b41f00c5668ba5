"""Choosing by name, with errors for people."""

import difflib
from collections.abc import Iterable


def check_name(what: str, name: object, allowed: Iterable[str]) -> str:
    """name, if it is allowed; else ValueError with what was given, what is allowed and the nearest name."""
    allowed = sorted(allowed)
    if isinstance(name, str) and name in allowed:
        return name
    near = difflib.get_close_matches(str(name), allowed, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"There is no {what} {name!r}.{hint} Allowed: {', '.join(allowed)}.")
