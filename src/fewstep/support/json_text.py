"""JSON from files that anybody may have written."""

import json
from typing import Any

from fewstep.support.errors import InvalidInput


def parse_json(text: str | bytes) -> Any:
    """What a text in JSON says. Raises ValueError for one that is none, or is nested more deeply than Python reads."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InvalidInput("it is nested too deeply") from None
