"""Which version was champion, when and why: an append-only log in the registry, and the aliases that follow from it.

Each move of the champion is a tag of its own on the registered model, so two writers at once cannot overwrite each
other. A move names the move that its writer had seen last; if another one was written in between, it is read as
following that one. After writing a move, its writer sets the aliases from the whole log, and repeats this until nobody
has written another move meanwhile. So the last writer to set the aliases has seen every move.

A database file has a lock, so that moves happen one after the other. A server has no lock for its clients. There, two
promotions within milliseconds are both kept in order, but the later one may have been decided against the champion
before the earlier one, and a reader between a move and its aliases sees the former champion.
"""

import getpass
import json
import logging
import re
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from fewstep.support.json_text import parse_json
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
    """The number of the champion version, or None."""
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
        entry = parse_json(text)
        versions = type(entry["to"]) is int and isinstance(entry["from"], int | None)
        said = all(isinstance(entry[name], str) for name in ("kind", "who", "when", "why"))
    except (ValueError, LookupError, TypeError):
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
    """Append moves that were made in another registry, and set the aliases."""
    newest = max(_log(client.get_registered_model(name).tags), default="")
    for entry in entries:
        newest = _append(client, name, entry, newest)
    settle(client, name)


def _append(client: "MlflowClient", name: str, entry: dict, seen: str) -> str:
    """Write an entry and return its key. seen: the key of the entry before it, "" for the first."""
    keys = _log(client.get_registered_model(name).tags)
    # Keys sort in the order of moves even if the clocks of two machines differ.
    now = max([time.time_ns(), *(int(key.split(".")[1]) + 1 for key in keys)])
    key = f"{PREFIX}{now:020d}.{uuid.uuid4().hex}"
    client.set_registered_model_tag(name, key, json.dumps({**entry, "seen": seen}, ensure_ascii=False))
    return key


def _seen(client: "MlflowClient", name: str) -> tuple[int | None, str]:
    """The champion, and the key of the move that made it champion, at one moment.

    If the two do not agree, another move may be in progress, so it is worth waiting. If they still disagree, somebody
    has set the alias by hand or deleted the version, and the alias is right.
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
    """Set the aliases champion and previous from the log, until the log did not change meanwhile."""
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
    """Set an alias, unless its version was deleted. Two clients that create an alias at once collide: try again."""
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
