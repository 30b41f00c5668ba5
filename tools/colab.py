"""Let the notebooks open in Colab: a badge, and a first cell that gets the project there and does nothing elsewhere.

python tools/colab.py OWNER/NAME     # the repository on GitHub, whose branch main has the notebooks
"""

import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "notebooks"
BADGE, CELL = "colab-badge", "colab-install"  # ids of the cells
INSTALL = """import sys

if "google.colab" in sys.modules:  # elsewhere the project is there already
    !git clone --quiet --depth 1 https://github.com/{repository}
    %cd {folder}
    %pip install --quiet .{more}
    %cd notebooks"""
MODELS = "\n    !kedro run --pipelines=ingest,teacher,distill  # about seven minutes"
NEEDS_MODELS = ("editing.ipynb",)


def with_colab(notebook: dict, name: str, repository: str) -> dict:
    """The notebook with both cells, in place of those that it may have."""
    address = f"https://colab.research.google.com/github/{repository}/blob/main/notebooks/{name}"
    badge = f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({address})"
    install = INSTALL.format(
        repository=repository, folder=repository.split("/")[1], more=MODELS if name in NEEDS_MODELS else ""
    )
    title, *cells = [cell for cell in notebook["cells"] if cell["id"] not in (BADGE, CELL)]
    code = {"cell_type": "code", "id": CELL, "metadata": {}, "outputs": [], "source": install.splitlines(keepends=True)}
    text = {"cell_type": "markdown", "id": BADGE, "metadata": {}, "source": [badge]}
    cells = [title, text, code, *cells]
    for number, cell in enumerate((cell for cell in cells if cell["cell_type"] == "code"), 1):
        cell["execution_count"] = number
        for output in cell["outputs"]:
            if "execution_count" in output:
                output["execution_count"] = number
    return {**notebook, "cells": cells}


def main(repository: str, folder: Path = FOLDER) -> None:
    if repository.count("/") != 1:
        sys.exit(f"The repository must be OWNER/NAME, got {repository}")
    for file in sorted(folder.glob("*.ipynb")):
        made = with_colab(json.loads(file.read_text()), file.name, repository)
        file.write_text(json.dumps(made, indent=1, ensure_ascii=False, sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:2] or [""])
