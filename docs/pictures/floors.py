"""Draws floors.png, the packages by their floors, what each holds, and where frameworks come in.

`python docs/pictures/floors.py`: floors are read from the import contracts of pyproject.toml, words from docstrings.
"""

import ast
import tomllib
from pathlib import Path

import matplotlib

matplotlib.use("agg")
import matplotlib.pyplot as plt

PROJECT = Path(__file__).parents[2]
SOURCE = PROJECT / "src" / "fewstep"
ROOM, BAND, QUIET, LIMIT = "#dbe7f6", "#f3f3f3", "#555555", "#c2601a"
USES = {"pipelines": "Kedro", "tracking": "MLflow", "registry": "MLflow", "serving": "MLflow", "launch": "Ray"}


def floors() -> list[list[str]]:
    """The packages of each floor, the highest first."""
    contracts = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    return [layer.replace("|", ":").replace(" ", "").split(":") for layer in layers]


def words_of(package: str) -> str:
    """The first line of its docstring, without the end."""
    file = SOURCE / package / "__init__.py" if (SOURCE / package).is_dir() else SOURCE / f"{package}.py"
    return (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0].rstrip(".")


def main():
    rows = floors()
    count = sum(len(packages) for packages in rows)
    figure, axes = plt.subplots(figsize=(10, 0.3 * count), layout="constrained")
    height = 0
    for number, packages in enumerate(rows):
        if "training" in packages:
            axes.plot((0, 11), (height + 0.5, height + 0.5), color=LIMIT, lw=1.5, ls="--")
            axes.text(10.9, height, "from here down: plain PyTorch", ha="right", va="center", fontsize=9, color=LIMIT)
        if number % 2 == 0:
            axes.add_patch(plt.Rectangle((0, height + 0.5 - len(packages)), 11, len(packages), fc=BAND, zorder=0))
        for package in packages:
            draw_room(axes, package, height)
            height -= 1
    axes.set(xlim=(0, 11), ylim=(height + 0.4, 0.8))
    axes.axis("off")
    words = "\n".join(" ".join(packages) for packages in rows)
    figure.savefig(Path(__file__).with_suffix(".png"), dpi=90, metadata={"Description": words})


def draw_room(axes, package: str, height: float):
    """A box with the package's name, and beside it what it holds and the framework that it uses."""
    axes.add_patch(plt.Rectangle((0.1, height - 0.36), 1.6, 0.72, fc=ROOM, ec=QUIET))
    axes.text(0.9, height, package, ha="center", va="center", fontsize=9)
    axes.text(1.85, height, words_of(package), va="center", fontsize=9)
    if package in USES:
        axes.text(10.9, height, USES[package], ha="right", va="center", fontsize=9, color=LIMIT, weight="bold")


if __name__ == "__main__":
    main()
