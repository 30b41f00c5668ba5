"""The report of a project, and `fewstep evaluate` in it."""

import json
import re
import shutil
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from fewstep.evaluation.results import Evaluation

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory, begin_project):
    """A project with teacher, student, scores at searched levels (those of 2 on the way to 3), and a report."""
    project = begin_project(tmp_path_factory.mktemp("report") / "project")
    overlay = project.root / "conf/test/parameters/test.yml"
    overlay.write_text(overlay.read_text().replace("student_nfe: [1, 2]", "student_nfe: [1, 3]"))
    settings = "launch.workers=0,launch.threads=1,teacher.training.images=64,student.training.images=64"
    command = ("kedro", "run", "--env=test", "--pipelines=ingest,teacher,distill,evaluate,register,report")
    code, output = project.run(*command, f"--params={settings},evaluation.levels=search")
    assert code == 0, output
    return project


@pytest.fixture(scope="module")
def folder(trained):
    return trained.root / "data/08_reporting/test/cd"


def test_the_report_has_its_parts_and_all_samplers(trained, folder):
    page = (folder / "report.html").read_text()
    parts = re.findall(r"<h2>(.*?)</h2>", page)
    assert parts == [
        "Samples", "Quality against cost", "One noise through the levels", "Interpolation",
        "Editing without training", "Nearest training images", "Scores", "What was used",
    ]  # fmt: skip
    scores = json.loads((folder / "sampler_scores.json").read_text())
    assert {row["sampler"] for row in scores["rows"]} == {"multistep", "heun", "euler", "deis_3"}
    assert scores["data_sha256"] in page and all(sha in page for sha in scores["models"].values())
    assert "inpaint: before, after" in page


def test_searched_levels_are_scored_kept_and_registered(trained, folder):
    found = json.loads((folder / "levels.json").read_text())
    rows = json.loads((folder / "scores.json").read_text())["rows"]
    scored = next(row["levels"] for row in rows if (row["model"], row["nfe"]) == ("cd", 3))
    assert scored[1:] == found["levels"]["3"]
    registered = [json.loads(file.read_text()) for file in trained.root.glob("ml*/**/model.json")]
    assert [kept["levels"] for kept in registered if kept["name"] == "cd"] == [found["levels"]]
    assert found["levels"].keys() >= {"2", "3"} and found["searched"] is True
    shutil.rmtree(trained.root / "runs")  # it is unfinished work alone: what is made of the levels reads them here
    code, output = trained.run_here("kedro", "run", "--env=test", "--pipelines=edit,register")
    assert code == 0, output


def test_the_students_run_has_every_picture_of_the_report(trained, folder):
    (place,) = trained.glob("mlartifacts/test/*/artifacts/report")
    found = [file.name for file in place.iterdir()]
    assert len(found) == (folder / "report.html").read_text().count("<img ") > 10
    parts = {"samples", "quality_against_cost", "one_noise_through_the_levels", "interpolation"}
    parts |= {"editing_without_training", "nearest_training_images"}
    assert {name.rpartition("_")[0] for name in found} == parts


def test_the_report_is_on_the_version_whichever_was_made_first(trained):
    place = "mlartifacts/test/models/*/artifacts/report.html"
    assert len(trained.glob(place)) == 1, "of the student, which was registered first"
    shutil.rmtree(trained.root / "mlartifacts")
    for file in trained.glob("mlflow.db*"):
        file.unlink()
    code, output = trained.run("kedro", "run", "--env=test", "--pipelines=register")
    assert code == 0 and len(trained.glob(place)) == 1, output


def test_a_report_of_other_scores_is_refused(trained, folder):
    before = (folder / "scores.json").read_text()
    others = replace(Evaluation.from_json(json.loads(before)), models={})
    (folder / "scores.json").write_text(json.dumps(others.to_json()))
    code, output = trained.run_here("kedro", "run", "--env=test", "--pipelines=report")
    (folder / "scores.json").write_text(before)
    assert code != 0 and "kedro run --env=test --pipelines=evaluate" in output


def test_changed_scores_are_refused(trained, folder):
    before = (folder / "scores.json").read_text()
    facts = json.loads(before)
    facts["rows"][0]["scores"][facts["primary"]]["values"][0] = 0.0
    (folder / "scores.json").write_text(json.dumps(facts))
    code, output = trained.run_here("kedro", "run", "--env=test", "--pipelines=register")
    (folder / "scores.json").write_text(before)
    assert code != 0 and "scores.json is damaged (these scores were changed after they were measured" in output


@pytest.mark.check
def test_models_and_pictures_of_anyone_are_scored_side_by_side(trained, folder):
    model = "data/06_models/test/teacher"
    command = ("fewstep", "evaluate", model, "--env", "test", "--steps", "3", "--count", "20", "--output", "one.json")
    code, output = trained.run(*command)
    assert code == 0 and re.search(r"^teacher +heun +3 .*±", output, re.MULTILINE), output
    place = trained.root / "mine"
    place.mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(place / f"{i}.png")
    code, output = trained.run("fewstep", "evaluate", "mine", "--env", "test", "--beside", "one.json")
    assert code == 0 and re.search(r"^mine +given +- ", output, re.MULTILINE) and "teacher" in output, output
    beside = ("--beside", str(folder / "scores.json"))  # of one seed, as a run makes them
    code, output = trained.run("fewstep", "evaluate", "mine", "--env", "test", *beside)
    assert code == 0 and re.search(r"^mine +given +- ", output, re.MULTILINE) and "multistep" in output, output
    code, output = trained.run("fewstep", "evaluate", "mine", "--env", "test", *beside, "--count", "20")
    assert code == 1 and "the sample count differs (20 here, 24 there)" in output
    np.save(trained.root / "gray.npy", np.zeros((60, 1, 16, 16), np.uint8))
    code, output = trained.run("fewstep", "evaluate", "gray.npy", "--env", "test")
    assert code == 0 and "60 of 60 pictures: " in output, "read in the mode of the data"
    np.save(trained.root / "small.npy", np.zeros((60, 3, 8, 8), np.uint8))
    code, output = trained.run("fewstep", "evaluate", "small.npy", "--env", "test")
    assert code == 1 and re.search(r"small.npy.*8", output), output
