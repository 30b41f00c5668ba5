"""Who is told that a run has ended: a web address that takes JSON, or a command that reads it."""

import json
import logging
import re
import subprocess
import urllib.request
from collections.abc import Sequence
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from fewstep.support.errors import InvalidInput

log = logging.getLogger(__name__)
WEB = ("http", "https")
SECONDS = 10.0  # for an address or a command


def check_target(target: object) -> str:
    """A web address or a command. Raises InvalidInput for anything else."""
    if not isinstance(target, str) or not target.strip() or "\n" in target:
        raise InvalidInput("notify must be web addresses or commands, each in one line.")
    scheme = urlsplit(target).scheme
    if target.startswith(f"{scheme}://") and (scheme not in WEB or not urlsplit(target).hostname):
        raise InvalidInput("notify must be web addresses such as https://host/path, or commands.")
    if scheme in WEB and (re.search(r"\s", target) or "@" in urlsplit(target).netloc):
        raise InvalidInput("an address of notify must have no spaces, and no user and password.")
    return target


def notify(targets: Sequence[str], event: str, text: str, **facts: Any) -> None:
    """Tell each target of an event: `{"event": ..., "text": ..., more facts}` as JSON.

    event: "finished", "diverged", "failed", "champion" or "drift". text: a sentence. Whatever goes wrong is a warning.
    """
    said = json.dumps({"event": event, "text": text, **facts}, default=str)
    for target in targets:
        try:
            if urlsplit(target).scheme in WEB:
                _post(target, said)
            else:
                _run(target, said)
        except Exception as problem:  # whatever a server or a command does, the run is what it is
            log.warning("%s was not told that %s: %s", without_secrets(target), text, _words(problem))


def _post(address: str, said: str) -> None:
    request = urllib.request.Request(address, said.encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=SECONDS):
        pass


def _run(command: str, said: str) -> None:
    subprocess.run(command, shell=True, input=said, text=True, timeout=SECONDS, check=True, capture_output=True)


def without_secrets(target: str) -> str:
    """A target to show: "https://host/..." or "command ...", because the rest of either may be a secret."""
    parts = urlsplit(target)
    if parts.scheme in WEB:
        return f"{parts.scheme}://{parts.hostname}/..."
    first, *more = target.split()
    return "..." if "=" in first else f"{first} ..." if more else first


def _words(problem: Exception) -> str:
    """What went wrong, without the command or the address."""
    if isinstance(problem, subprocess.CalledProcessError):
        lines = str(problem.stderr).strip().splitlines() or [""]
        return f"it ended with {problem.returncode} {lines[-1]}".strip()
    if isinstance(problem, subprocess.TimeoutExpired):
        return f"no end after {SECONDS:g} s"
    if isinstance(problem, HTTPError):
        return f"status {problem.code}"
    return str(problem.reason) if isinstance(problem, URLError) else type(problem).__name__
