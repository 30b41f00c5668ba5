"""The floors of the house, and the style of the whole repository."""

import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent


@pytest.mark.parametrize("command", ["lint-imports", "ruff check", "ruff format --check"])
def test_nothing_to_mend(command):
    program, *words = command.split()
    done = subprocess.run([BIN / program, *words], cwd=PROJECT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_mathematics_runs_without_the_frameworks():
    code = (
        "import sys\n"
        "for name in ('kedro', 'kedro_datasets', 'omegaconf', 'ray', 'mlflow', 'pydantic'):\n"
        "    sys.modules[name] = None\n"
        "import onestep, onestep.data, onestep.evaluation, onestep.objectives, onestep.samplers\n"
        "import onestep.training.loop\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
