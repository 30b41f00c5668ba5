"""`fewstep`, as typed."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

import fewstep
from fewstep.cli import main
from fewstep.models.model import SavedModel
from fewstep.pipelines.promote.nodes import promote_version
from fewstep.registry import force, history, register, register_teacher, rollback
from fewstep.tracking import Backend


@pytest.fixture
def project(here, backend, finished_model, scores, monkeypatch):
    """A project with a registered student, its record and its folder where the catalog has them."""
    student = here / "data/06_models/digits/cd"
    shutil.copytree(finished_model().folder, student)
    file = here / "data/08_reporting/digits/cd/registration.json"
    file.parent.mkdir(parents=True)
    teacher = here / "data/06_models/digits/teacher"
    shutil.copytree(finished_model(teacher=True).folder, teacher)
    taught_by = register_teacher(SavedModel.open(teacher), scores(26.0), backend)
    file.write_text(json.dumps(register(SavedModel.open(student), scores(26.0), backend, teacher=taught_by)))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return here


def typed(command: str, code: int) -> str:
    result = CliRunner().invoke(main, command.split())
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.slow
def test_sync_makes_a_lost_version_again(project, empty_database):
    shutil.copy(empty_database, project / "mlflow.db")
    told = typed("registry sync --env=base", 0)
    shown = ", ".join(f"data/08_reporting/digits/cd/{name}" for name in ("ladder.png", "report.html", "sheet.png"))
    assert told.splitlines() == [
        "fewstep-digits-teacher version 1: no alias",
        "fewstep-digits version 1: challenger, champion",
        f"not here, or of other weights: {shown}",
    ]
    assert typed("registry sync --env=base", 0) == told
    registered = fewstep.load("models:/fewstep-digits@champion")
    assert registered.sample(nfe=1, seed=0, indices=range(2)).shape == (2, 1, 8, 8)
    assert fewstep.load("data/06_models/digits/cd").sha256 == registered.sha256


@pytest.mark.slow
def test_sync_brings_the_students_of_trials(project, backend, finished_model, scores, empty_database):
    for seed, trial in enumerate(("slow", "sweeps/cd-12ab"), 1):
        student = project / "data/06_models/digits" / trial
        shutil.copytree(finished_model(seed).folder, student)
        record = project / "data/08_reporting/digits" / trial / "registration.json"
        record.parent.mkdir(parents=True)
        record.write_text(json.dumps(register(SavedModel.open(student), scores(26.0 + seed), backend)))
    (project / "data/08_reporting/digits/cd/registration.json").unlink()  # trials alone are enough
    (project / "data/08_reporting/digits/.odd").mkdir()
    shutil.copy(empty_database, project / "mlflow.db")
    first, second, *_ = typed("registry sync --env=base", 0).splitlines()
    assert (first, second) == ("fewstep-digits version 2: no alias", "fewstep-digits version 3: challenger")
    assert fewstep.load("models:/fewstep-digits/3").sha256 == SavedModel.open(student).sha256


@pytest.mark.slow
def test_sync_brings_what_shows_the_version(project, empty_database):
    place = project / "data/08_reporting/digits/cd"
    sha256 = json.loads((place / "registration.json").read_text())["model_sha256"]
    (place / "scores.json").write_text(json.dumps({"models": {"cd": sha256}}))
    for name in ("sheet.png", "ladder.png"):
        (place / name).write_bytes(b"a picture")
    (place / "report.html").write_text("of other weights")
    shutil.copy(empty_database, project / "mlflow.db")
    told = typed("registry sync --env=base", 0)
    assert told.endswith("not here, or of other weights: data/08_reporting/digits/cd/report.html\n")
    kept = [file.name for file in project.glob("mlartifacts/digits/models/*/artifacts/*")]
    assert (kept.count("sheet.png"), kept.count("ladder.png"), kept.count("report.html")) == (1, 1, 0)


@pytest.mark.slow
def test_sync_says_which_champion_is_not_here(project, empty_database):
    place = project / "data/08_reporting/digits"
    record = json.loads((place / "cd/registration.json").read_text()) | {"version": 2, "aliases": ["challenger"]}
    (place / "cd/registration.json").write_text(json.dumps(record))
    moves = [{"kind": "first", "from": None, "to": 1, "who": "me", "when": "then", "why": "there was none"}]
    (place / "promotions.json").write_text(json.dumps({"name": "fewstep-digits", "moves": moves}))
    shutil.copy(empty_database, project / "mlflow.db")
    *_, lacking, way = typed("registry sync --env=base", 0).splitlines()
    assert lacking.startswith("fewstep-digits has no champion: version 1, which was, is not among these records")
    assert "at a commit that has it (git log dvc.lock): dvc pull dvc.yaml" in way
    (place / "promotions.json").unlink()
    assert "the one that was is not among these records" in typed("registry sync --env=base", 0)


@pytest.mark.slow
def test_sync_says_what_is_missing(project):
    shutil.rmtree(project / "data/06_models/digits/cd")
    assert "dvc pull data/06_models/digits/cd" in typed("registry sync --env=base --recipe=cd", 1)
    shutil.rmtree(project / "data/06_models")
    assert "dvc pull data/06_models/digits/teacher" in typed("registry sync --env=base --recipe=cd", 1)
    shutil.rmtree(project / "data/08_reporting")
    assert "there is no data/08_reporting/digits/cd/registration.json" in typed(
        "registry sync --env=base --recipe=cd", 1
    )
    assert typed("registry sync --env=moons --recipe=cd", 1).endswith("or run: kedro run --env=moons.\n")
    assert "moons has no registered model. There are models of: digits" in typed("registry promote --env=moons", 1)
    assert "Did you mean 'moons'" in typed("registry sync --env=mons --recipe=cd", 1)
    (project / "pyproject.toml").unlink()
    assert "go to the project's folder" in typed("registry sync --recipe=cd", 1)


def test_the_list_has_every_version_with_its_aliases_and_score(project):
    lines = [line.split("  ") for line in typed("registry list --env=base", 0).splitlines()]
    (student, *told), (teacher, *_) = lines
    assert (student, teacher) == ("fewstep-digits", "fewstep-digits-teacher")
    assert told[:3] == ["1", "cd", "challenger, champion"] and told[3].endswith(" 26")
    found = json.loads(typed("registry list --env=base --json", 0))
    assert [(each["name"], each["version"]) for each in found] == [(student, 1), (teacher, 1)]


def test_the_list_of_a_project_without_a_registry_says_how_to_make_one(here, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert typed("registry list", 0) == "no model is registered yet: kedro run makes one.\n"
    assert not (here / "mlflow.db").exists()


@pytest.mark.slow
def test_a_forced_promotion_its_history_and_the_way_back(project, backend, finished_model, scores):
    register(finished_model(1), scores(30.0), backend)
    assert "--force needs the version to promote" in typed("registry promote --env=base --force --reason=x", 1)
    assert "--reason is for --force" in typed("registry promote --env=base --reason=x", 1)
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
    assert "moons has no registered model. There are models of: digits" in typed("registry history --env=moons", 1)
    backend.database.unlink()
    assert "no model is registered at" in typed("registry history --env=base", 1)
    assert not backend.database.exists()


@pytest.mark.slow
def test_the_gate_as_a_pipeline_and_as_a_command(project, backend):
    from fewstep.data import ingest
    from fewstep.evaluation.features.choice import choose_extractor

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
def test_the_gate_makes_no_registry(backend, tmp_path):
    nowhere = Backend.at(tmp_path / "elsewhere", "sqlite:///mlflow.db")
    images = SimpleNamespace(space=SimpleNamespace(name="digits"))
    for ask in (
        lambda: promote_version(images, None, nowhere, None, None),
        lambda: force(nowhere, "fewstep-digits", 1, "better"),
        lambda: rollback(nowhere, "fewstep-digits"),
        lambda: history(nowhere, "fewstep-digits"),
    ):
        with pytest.raises(ValueError, match="no registry at"):
            ask()
    assert not nowhere.database.parent.exists()


@pytest.mark.slow
def test_sample_draws_a_sheet(project):
    typed("sample sheet.png --model=models:/fewstep-digits@champion --steps=2 --count=8", 0)
    assert Image.open(project / "sheet.png").width > 8 * 48
    typed("sample all.npy --model=models:/fewstep-digits@champion --steps=2 --n=8 --batch-size=3", 0)
    made = fewstep.load("models:/fewstep-digits@champion").sample(nfe=2, seed=0, indices=range(8))
    assert np.abs(np.load(project / "all.npy").astype(int) - made).max() <= 1
    assert "no sampler of this model 'heun'" in typed("sample a.npy --model=models:/fewstep-digits/1 --sampler=heun", 1)
    assert "trained without labels" in typed("sample sheet.png --model=models:/fewstep-digits/1 --label=3", 1)
    assert "not in the registry" in typed("sample sheet.png --model=models:/fewstep-digit/1", 1)


@pytest.mark.slow
def test_edit_from_the_shell(project):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:6] = 255
    for name, picture in (("a", pixels), ("m", mask)):
        Image.fromarray(picture).save(project / f"{name}.png")
    edit = "edit {} --model=models:/fewstep-digits@champion --steps=2 "
    typed(edit.format("inpaint out") + "--image=a.png --mask=m.png", 0)
    made = np.asarray(Image.open(project / "out/inpaint/a.png"))
    assert np.array_equal(made[mask == 0], pixels[mask == 0]) and not np.array_equal(made, pixels)
    assert Image.open(project / "out/sheet.png").width > 48
    assert "psnr: " in typed(edit.format("superresolve") + "--image=a.png --degrade", 0)
    typed(edit.format("interpolate") + "--seed=3 --to=5 --frames=4", 0)
    assert len(list((project / "edited/interpolate").iterdir())) == 4
    assert "colorization needs images of 3 channels" in typed(edit.format("colorize") + "--image=a.png", 1)
    assert "Did you mean 'inpaint'" in typed(edit.format("inpant") + "--image=a.png", 1)
    assert "no option 'factor' of denoise" in typed(edit.format("denoise") + "--image=a.png --factor=2", 1)
    assert "give one (--image, or images in a request)" in typed(edit.format("stroke"), 1)
    assert "needs the teacher" in typed(edit.format("interpolate") + "--image=a.png --image=a.png", 1)


@pytest.mark.parametrize("record", [{}, [], {"name": "x"}, {"teacher": {}}])
def test_a_record_that_says_nothing_is_named(record, monkeypatch):
    from types import SimpleNamespace

    from fewstep.commands import registry
    from fewstep.support.errors import InvalidInput

    monkeypatch.setattr(registry, "place_of", lambda catalog, name: f"data/{name}.json")
    with pytest.raises(InvalidInput, match=r"data/registration.json is no record .* kedro run --pipelines=register"):
        registry._models(SimpleNamespace(load=lambda name: record))
