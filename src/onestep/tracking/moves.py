"""Who was champion, when and why: a log in the registry that only grows, and the aliases that follow from it.

Each move is a tag of its own on the registered model, so two at once are both kept; whoever wrote one then sets the
aliases by the whole log, until nobody has written more meanwhile. So the last to set them has seen every move.
"""

import getpass
import json
import time
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from onestep.tracking.store import Store
from onestep.tracking.versions import holder_of

if TYPE_CHECKING:
    from mlflow import MlflowClient

DECIDED = ("promoted", "confirmed", "forced")
PREFIX, LONGEST = "move.", 3000  # characters of a reason; a tag of a database holds 5000


def history(store: Store, name: str) -> list[dict]:
    """Every move of the champion, oldest first: kind, from, to (versions), who, when, why."""
    return moves_of(store.client(), name)


def moves_of(client: "MlflowClient", name: str) -> list[dict]:
    from mlflow.exceptions import MlflowException

    try:
        tags = client.get_registered_model(name).tags
    except MlflowException as problem:
        raise ValueError(f"there is no {name} in the registry: {problem.message}") from None
    return [json.loads(tags[key]) for key in sorted(tags) if key.startswith(PREFIX)]


def move(client: "MlflowClient", name: str, kind: str, version: str, why: str) -> dict:
    """Make a version champion. kind: one of DECIDED, "first", "rolled back" or "restored"."""
    holder = holder_of(client, name, "champion")
    entry = {
        "kind": kind,
        "from": holder and int(holder.version),
        "to": int(version),
        "who": _who(),
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "why": why[:LONGEST],
    }
    append(client, name, entry)
    return entry


def append(client: "MlflowClient", name: str, *entries: dict) -> None:
    """More of the log, after all that is there by any clock, and the aliases by it."""
    keys = [key for key in client.get_registered_model(name).tags if key.startswith(PREFIX)]
    now = max([time.time_ns(), *(int(key.split(".")[1]) + 1 for key in keys)])
    for place, entry in enumerate(entries):
        client.set_registered_model_tag(
            name, f"{PREFIX}{now + place:020d}.{uuid.uuid4().hex}", json.dumps(entry, ensure_ascii=False)
        )
    settle(client, name)


def settle(client: "MlflowClient", name: str) -> None:
    """Set champion and previous as the log has them, until it stays as it was meanwhile."""
    seen, log = None, moves_of(client, name)
    while log != seen:
        for alias, version in holders(log).items():
            point(client, name, alias, version)
        seen, log = log, moves_of(client, name)


def holders(log: list[dict]) -> dict[str, int]:
    """{champion, previous: version} after these moves."""
    found = {}
    for entry in log:
        before = entry["from"]
        if before not in (None, entry["to"]):
            found["previous"] = before
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
