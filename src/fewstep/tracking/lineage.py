"""Where a run comes from: its code, its command, its parameters by flat names."""

import hashlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

LONGEST_PARAM = 6000  # MLflow's limit


def git_state(folder: Path | str) -> dict[str, str]:
    """The commit of a working tree, and whether files differ from it; "unknown" without git.

    Files that a run writes itself (data/, the dvc.lock files) do not count.
    """

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout

    try:
        changed = git("status", "--short", "--", ".", ":!data", ":!dvc.lock", ":!comparison/dvc.lock")
        return {"git_commit": git("rev-parse", "HEAD").strip(), "git_dirty": str(bool(changed)).lower()}
    except (OSError, subprocess.CalledProcessError):
        return {"git_commit": "unknown", "git_dirty": "unknown"}


def lock_state(folder: Path | str) -> dict[str, str]:
    """The hash of dvc.lock, in which DVC keeps the hashes of data and models; {} without that file."""
    lock = Path(folder) / "dvc.lock"
    return {"dvc_lock_sha256": hashlib.sha256(lock.read_bytes()).hexdigest()} if lock.is_file() else {}


def run_tags(
    recipe: str, data_sha256: str, env: str | None = None, command: str | None = None, project: Path | str = "."
) -> dict[str, str]:
    """The tags of every run, including those that MLflow shows in its columns Source and Version.

    env, command: by default those of this process (KEDRO_ENV, the command line).
    """
    git = git_state(project)
    env = env or os.environ.get("KEDRO_ENV", "base")
    command = command or shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    source = {
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": command,
        "mlflow.source.git.commit": git["git_commit"],
    }
    return {**git, **source, "command": command, "env": env, "recipe": recipe, "data_sha256": data_sha256}


def run_title(name: str, params: Mapping) -> str:
    """What a training is called where trainings are listed: "cd 64k lr=0.001". params: nested, its provenance."""
    training = params.get("training") or {}
    images, rate = training.get("images"), training.get("learning_rate")
    size, unit = next(((s, u) for s, u in ((1e9, "G"), (1e6, "M"), (1e3, "k")) if images and images >= s), (1, ""))
    seen = [f"{images / size:.3g}{unit}"] if images else []
    return " ".join([name, *seen, *([f"lr={rate:g}"] if rate else [])])


def flatten(params: Mapping, prefix: str = "") -> dict[str, str]:
    """Nested parameters -> {"a.b": text}. Other values than text are JSON, and long values are cut.

    MLflow allows few characters in names: others become "_".
    """
    flat = {}
    for name, value in params.items():
        key = prefix + re.sub(r"[^\w\-. :/]", "_", str(name))
        if isinstance(value, dict) and value:
            flat |= flatten(value, f"{key}.")
        else:
            flat[key] = _shorten(value if isinstance(value, str) else json.dumps(value, default=str))
    return flat


def _shorten(text: str) -> str:
    """A text within MLflow's limit. The run's params.json has the whole value."""
    note = f" ... ({len(text)} characters, see params.json)"
    return text if len(text) <= LONGEST_PARAM else text[: LONGEST_PARAM - len(note)] + note
