"""Who was champion, when and why: a log in the registry that only grows, and the aliases that follow from it.

Each move is a tag of its own on the registered model, so two at once are both kept. It names the move before it that
its writer had seen; where another one came between, it is read as one that follows on that. Whoever wrote one then sets
the aliases by the whole log, until nobody has written more meanwhile. So the last to set them has seen every move.

Beside a database file there is a lock, and moves are made one after the other. A server has none that clients could
hold: there, of two promotions within milliseconds, both are kept and in order, but the later one may have been decided
against the champion before the earlier one; and between a move and its aliases a reader sees the champion before.
"""

import getpass
import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fewstep.tracking.backend import Backend

if TYPE_CHECKING:
    from mlflow import MlflowClient

logger = logging.getLogger(__name__)
DECIDED = ("promoted", "confirmed", "forced")
PREFIX, LONGEST = "move.", 3000  # characters of a reason, in the history and on a version


def history(backend: Backend, name: str) -> list[dict]:
    """Every move of the champion, oldest first: kind, from, to (versions), who, when, why."""
    client = backend.existing()
    with backend.asked_for(name):
        return moves_of(client, name)


def champion_of(backend: Backend, name: str) -> int | None:
    """The number of the champion, if there is one."""
    client = backend.existing()
    with backend.asked_for(name):
        number = client.get_registered_model(name).aliases.get("champion")
    return number and int(number)


def moves_of(client: "MlflowClient", name: str) -> list[dict]:
    return list(_log(client.get_registered_model(name).tags).values())


def _log(tags: dict[str, str]) -> dict[str, dict]:
    """{key: move} in order, each from the version that the one before it had made champion."""
    log, newest = {}, ""
    for key in sorted(key for key in tags if key.startswith(PREFIX)):
        if (entry := _read_move(key, tags[key])) is None:
            logger.warning("the tag %s is no move of the champion, and is left out", key)
            continue
        if entry.pop("seen", newest) != newest and newest:
            entry["from"] = log[newest]["to"]
        log[key], newest = entry, key
    return log


def _read_move(key: str, text: str) -> dict | None:
    """A move of the champion; None for a tag that somebody else set."""
    try:
        entry = json.loads(text)
        versions = type(entry["to"]) is int and isinstance(entry["from"], int | None)
        said = all(isinstance(entry[name], str) for name in ("kind", "who", "when", "why"))
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    return entry if versions and said and re.fullmatch(rf"{re.escape(PREFIX)}\d+\.\w+", key) else None


def move(client: "MlflowClient", name: str, kind: str, version: str, why: str) -> dict:
    """Make a version champion. kind: one of DECIDED, "first", "rolled back" or "restored"."""
    champion, newest = _seen(client, name)
    entry = {
        "kind": kind,
        "from": champion,
        "to": int(version),
        "who": _who(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "why": why[:LONGEST],
    }
    key = _append(client, name, entry, newest)
    settle(client, name)
    return _log(client.get_registered_model(name).tags)[key]


def append(client: "MlflowClient", name: str, *entries: dict) -> None:
    """More of the log, as it was elsewhere, and the aliases by it."""
    newest = max(_log(client.get_registered_model(name).tags), default="")
    for entry in entries:
        newest = _append(client, name, entry, newest)
    settle(client, name)


def _append(client: "MlflowClient", name: str, entry: dict, seen: str) -> str:
    """The key of a new entry, after all that is there by any clock. seen: the one before it, "" for the first."""
    keys = _log(client.get_registered_model(name).tags)
    now = max([time.time_ns(), *(int(key.split(".")[1]) + 1 for key in keys)])
    key = f"{PREFIX}{now:020d}.{uuid.uuid4().hex}"
    client.set_registered_model_tag(name, key, json.dumps({**entry, "seen": seen}, ensure_ascii=False))
    return key


def _seen(client: "MlflowClient", name: str) -> tuple[int | None, str]:
    """The champion, and the key of the move that made it so, of one moment.

    Where the two do not agree, a move is being made, which is soon done; or somebody has set the alias otherwise, or
    deleted the version, and that holds.
    """
    for patience in (0.05, 0.2, 0.5, 0):
        registered = client.get_registered_model(name)
        log, champion = _log(registered.tags), registered.aliases.get("champion")
        newest = max(log, default="")
        if not patience or (champion and int(champion)) == (log[newest]["to"] if log else None):
            break
        time.sleep(patience)
    return champion and int(champion), newest


def settle(client: "MlflowClient", name: str) -> None:
    """Set champion and previous as the log has them, until it stays as it was meanwhile."""
    seen, log = None, moves_of(client, name)
    while log != seen:
        held = holders(log)
        for alias, version in held.items():
            point(client, name, alias, version)
        if "previous" not in held and "previous" in client.get_registered_model(name).aliases:
            client.delete_registered_model_alias(name, "previous")
        seen, log = log, moves_of(client, name)


def holders(log: list[dict]) -> dict[str, int]:
    """{champion, previous: version} after these moves."""
    found = {}
    for entry in log:
        before = entry["from"]
        if before not in (None, entry["to"]):
            found["previous"] = before
        if found.get("previous") == entry["to"]:
            del found["previous"]  # the champion between was deleted
        found["champion"] = entry["to"]
    return found


def point(client: "MlflowClient", name: str, alias: str, version: int | str) -> None:
    """Set an alias, but not to a version that was deleted since. Two that make it at once collide, once."""
    from mlflow.exceptions import MlflowException

    for patience in (0.05, 0.2, 0.5, 0):
        try:
            client.set_registered_model_alias(name, alias, str(version))
        except MlflowException as problem:
            if problem.error_code == "RESOURCE_DOES_NOT_EXIST":
                return
            if not patience:
                raise
            time.sleep(patience)
        else:
            return


def _who() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"
