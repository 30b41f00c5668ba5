"""`fewstep verify` finds whatever was changed."""

import json
import shutil
from dataclasses import replace

import pytest
from click.testing import CliRunner

from fewstep.cli import main
from fewstep.data import ingest
from fewstep.evaluation.features import open_extractor
from fewstep.evaluation.features.choice import CHOICE
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.registry import register
from fewstep.support.files import write_json

DATA, MODELS = "data/02_intermediate/digits/images", "data/06_models/digits/cd"
REPORTS = "data/08_reporting/digits/cd"


@pytest.fixture
def whole(here, backend, finished_model, scores, monkeypatch):
    """A project with data, features, a student, its scores and levels, and a registered version."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    images, extractor = ingest({"name": "digits"}, here / DATA), open_extractor("digits")
    write_json(here / "data/03_primary/digits/extractor" / CHOICE, {"features": "digits", "weights": None})
    made = finished_model()
    student = replace(made, spec=replace(made.spec, data_sha256=images.sha256)).save(here / MODELS)
    measured = {"data_sha256": images.sha256, "extractor": {"name": "digits", "sha256": extractor.sha256}}
    found = scores(26.0, models={"cd": student.sha256}, **measured)
    write_json(here / REPORTS / "scores.json", found.to_json())
    write_json(here / REPORTS / "levels.json", StudentLevels.of_recipe(student).to_json())
    register(student, found, backend)
    return here


def verified(code: int) -> str:
    result = CliRunner().invoke(main, ["verify", "--env=base", "--recipe=cd"])
    assert result.exit_code == code, result.output
    return result.output


def flip(file) -> None:
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)


def other_student(project) -> None:
    (project / REPORTS / "levels.json").write_text(json.dumps({"model_sha256": "7", "levels": {}, "searched": False}))


FAULTS = {
    f"{DATA}: The data store": lambda project: flip(project / DATA / "images.npy"),
    f"{MODELS}: ": lambda project: flip(project / MODELS / "model.safetensors"),
    "data/03_primary/digits/extractor: ": lambda project: write_json(
        project / "data/03_primary/digits/extractor" / CHOICE, {"features": "digitz", "weights": None}
    ),
    f"{REPORTS}/levels.json: {REPORTS}/levels.json has levels of another model": other_student,
    f"{REPORTS}/scores.json: ": lambda project: (project / REPORTS / "scores.json").write_text("[]"),
    "models:/fewstep-digits/1: ": lambda project: flip(next(project.glob("mlartifacts/**/model.safetensors"))),
}


@pytest.mark.slow
def test_what_is_whole_is_said_and_each_change_is_found(whole, tmp_path_factory):
    said = verified(0)
    names = [DATA, "data/03_primary/digits/extractor", MODELS, f"{REPORTS}/scores.json", f"{REPORTS}/levels.json"]
    assert said.splitlines() == [f"{name}: as it was written" for name in (*names, "models:/fewstep-digits/1")]
    kept = shutil.copytree(whole, tmp_path_factory.mktemp("kept") / "project")
    for words, break_it in FAULTS.items():
        break_it(whole)
        said = verified(1)
        assert words in said and "of 6 are not as they were written" in said
        for place in ("data", "mlartifacts"):
            shutil.rmtree(whole / place)
            shutil.copytree(kept / place, whole / place)


def test_where_there_is_nothing_it_says_so_and_names_data_sets_that_are_there(here):
    assert "there is nothing of digits to verify yet: kedro run makes it." in verified(1)
    ingest({"name": "moons", "count": 64}, here / DATA.replace("digits", "points"))
    assert "There are data of points (--dataset=points)." in verified(1)
