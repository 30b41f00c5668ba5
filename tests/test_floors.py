"""The floors of the house, and the style of the whole repository."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["lint-imports", "ruff check", "ruff format --check", "basedpyright"])
def test_nothing_to_mend(command):
    program, *words = command.split()
    done = subprocess.run([BIN / program, *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def imported() -> set[str]:
    """The packages that the sources name, wherever in a file."""
    found = set()
    for file in (PROJECT / "src" / "fewstep").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                found.add(node.module.split(".")[0])
    return found


def test_every_import_is_of_a_declared_dependency():
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    dependencies = [*project["dependencies"], *chain(*project["optional-dependencies"].values())]
    declared = {re.match(r"[\w-]+", each)[0].replace("-", "_").lower() for each in dependencies}
    makers = {name: {d.replace("-", "_").lower() for d in made} for name, made in packages_distributions().items()}
    others = imported() - sys.stdlib_module_names - {"fewstep"}
    assert "torch" in others
    assert [name for name in sorted(others) if not makers.get(name, {name}) & declared] == []


SHARED_NAMES = {
    "__init__",
    "__main__",  # what `python -m` runs
    "nodes",  # of Kedro's pipelines, as Kedro lays them out
    "pipeline",
    "edm",  # a preconditioner and a layout of data: each is named in a configuration as its module is
}


def test_two_modules_have_two_names():
    places: dict[str, list[str]] = {}
    for file in sorted((PROJECT / "src" / "fewstep").rglob("*.py")):
        places.setdefault(file.stem, []).append(str(file.relative_to(PROJECT)))
    shared = {name: files for name, files in places.items() if len(files) > 1}
    assert shared.keys() == SHARED_NAMES, {name: shared.get(name) for name in shared.keys() ^ SHARED_NAMES}


@pytest.mark.slow
def test_the_mathematics_runs_without_the_frameworks():
    code = (
        "import sys\n"
        "for name in ('kedro', 'kedro_datasets', 'omegaconf', 'ray', 'mlflow', 'pydantic'):\n"
        "    sys.modules[name] = None\n"
        "import fewstep, fewstep.data, fewstep.editing, fewstep.evaluation, fewstep.objectives, fewstep.samplers\n"
        "import fewstep.training.loop\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
