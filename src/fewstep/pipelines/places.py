"""Where datasets lie, and which command makes them: what messages name."""

import os
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from fewstep.pipelines.params_text import write_params

SILENT = ("base", "local", None)  # configurations that a command need not name


def filepath_of(catalog: Any, name: str) -> Path:
    """Where the catalog keeps a dataset."""
    dataset = catalog.get(name)
    assert dataset is not None
    return Path(dataset._describe()["filepath"])  # there is no public way to ask


def is_optional(catalog: Any, name: str) -> bool:
    """Whether what reads this dataset can do without it, as the catalog says."""
    return getattr(catalog.get(name), "optional", False)


def place_of(catalog: Any, name: str) -> Path:
    """Where a dataset lies, from here."""
    return Path(os.path.relpath(filepath_of(catalog, name)))


def command_of(
    pipelines: str | None = None, env: str | None = None, params: Mapping[str, Any] | None = None, nodes: str = ""
) -> str:
    """The command that runs pipelines, by default the whole journey, in this configuration, with these --params."""
    words = ["kedro run", "" if env in SILENT else f"--env={env}", f"--pipelines={pipelines}" if pipelines else ""]
    words += [f"--nodes={nodes}" if nodes else "", f"--params={quote(write_params(params))}" if params else ""]
    return " ".join(filter(None, words))
