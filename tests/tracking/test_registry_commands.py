"""`onestep`, as typed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from PIL import Image

import onestep
from onestep.cli import main
from onestep.tracking import register

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def project(tmp_path, store, finished_model, scores, monkeypatch):
    """A project with a registered student, its record and its folder where the catalog has them."""
    shutil.copytree(PROJECT / "conf", tmp_path / "conf")
    shutil.copy(PROJECT / "pyproject.toml", tmp_path)
    (tmp_path / "src").mkdir()
    student = tmp_path / "data/06_models/digits/cd"
    shutil.copytree(finished_model(), student)
    file = tmp_path / "data/08_reporting/digits/cd/registration.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(register(student, scores(26.0), store)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path


def typed(command: str, code: int) -> str:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.slow
def test_sync_makes_a_lost_version_again(project, empty_database):
    shutil.copy(empty_database, project / "mlflow.db")
    told = typed("registry sync --env=base", 0)
    assert told == "onestep-digits version 1: challenger, champion\n"
    assert typed("registry sync --env=base", 0) == told
    assert onestep.load("models:/onestep-digits@champion").sample(1, 0, range(2)).shape == (2, 1, 8, 8)


@pytest.mark.slow
def test_sync_says_what_is_missing(project):
    shutil.rmtree(project / "data/06_models")
    assert "dvc pull data/06_models/digits/cd" in typed("registry sync --env=base", 1)
    shutil.rmtree(project / "data/08_reporting")
    assert "there is no data/08_reporting/digits/cd/registration.json" in typed("registry sync --env=base", 1)
    assert "Did you mean 'moons'" in typed("registry sync --env=mons", 1)
    (project / "pyproject.toml").unlink()
    assert "go to its folder" in typed("registry sync", 1)


@pytest.mark.slow
def test_a_forced_promotion_its_history_and_the_way_back(project, store, finished_model, scores):
    register(finished_model(1), scores(30.0), store)
    assert "names its version" in typed("registry promote --env=base --force --reason=x", 1)
    assert "needs a reason" in typed("registry promote --env=base --version=2 --force", 1)
    assert "has no previous" in typed("registry rollback --env=base", 1)
    assert "the gate needs images" in typed("registry promote --env=base --version=2", 1)
    assert typed("registry promote --env=base --version=2 --force --reason=blind", 0).endswith("champion, forced\n")
    kept = json.loads((project / "data/08_reporting/digits/promotions.json").read_text())
    assert [move["to"] for move in kept["moves"]] == [1, 2]
    assert "version 1 is champion again, 2 is previous" in typed("registry rollback --env=base --reason=eights", 0)
    told = typed("registry history --env=base", 0).splitlines()
    assert [line.split("  ")[1] for line in told] == ["- -> 1", "1 -> 2", "2 -> 1"]
    assert "forced by" in told[1] and told[2].endswith("eights")
    assert "there is no onestep-moons in the registry" in typed("registry history --env=moons", 1)


@pytest.mark.slow
def test_the_gate_as_a_pipeline_and_as_a_command(project, store):
    from onestep.data import ingest
    from onestep.evaluation.choice import choose_extractor

    images = ingest({"name": "digits"}, project / "data/02_intermediate/digits/images")
    choose_extractor(images, "digits", None, project / "data/03_primary/digits/extractor")
    command = [Path(sys.executable).parent / "kedro", "run", "--env=base", "--pipelines=promote"]
    said = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    assert "version 1: refused; not compared: the data hash of version 1 differs (dddddddddddddddd" in said.stdout
    kept = json.loads((project / "data/08_reporting/digits/promotions.json").read_text())
    assert [move["kind"] for move in kept["moves"]] == ["first"]
    assert "version 1: refused" in typed("registry promote --env=base --version=1", 0)
    assert "version 9, is not in the registry" in typed("registry promote --env=base --version=9", 1)


@pytest.mark.slow
def test_sample_draws_a_sheet(project):
    typed("sample sheet.png --model=models:/onestep-digits@champion --steps=2 --count=8", 0)
    assert Image.open(project / "sheet.png").width > 8 * 48
    assert "trained without labels" in typed("sample sheet.png --model=models:/onestep-digits/1 --label=3", 1)
    assert "not in the registry" in typed("sample sheet.png --model=models:/onestep-digit/1", 1)
