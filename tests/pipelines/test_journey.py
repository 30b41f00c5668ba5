"""`kedro run`: the stages of the chosen recipe, with a teacher or without."""

import json
import re

import pytest

from fewstep.pipelines.journey import journey

SHORT = "launch.workers=0,launch.threads=1,student.training.images=64"


@pytest.mark.parametrize(("recipe", "stages"), [("ict", 4), ("ct", 4), ("cd", 5), ("ect", 5)])
def test_the_teacher_is_trained_for_recipes_that_need_one(recipe, stages, typed_parameters):
    found = journey(typed_parameters("test", recipe=recipe).student)
    assert len(found) == stages and ("teacher" in found) == (stages == 5)


@pytest.fixture(scope="module")
def alone(tmp_path_factory, make_project):
    """A fresh project after the whole journey of a recipe that learns from data alone, and what it printed."""
    project = make_project(tmp_path_factory.mktemp("alone") / "project")
    code, output = project.run("kedro", "run", "--env=test", f"--params=recipe=ict,{SHORT}")
    assert code == 0, output
    return project, output


@pytest.mark.slow
def test_a_student_of_data_alone_is_made_scored_and_registered_without_a_teacher(alone):
    project, output = alone
    assert "ict learned from data alone: no teacher is shown beside it." in output
    assert not (project.root / "data/06_models/test/teacher").exists() and not project.glob("runs/test/teacher-*")
    place = project.root / "data/08_reporting/test/ict"
    scores, record = (json.loads((place / name).read_text()) for name in ("scores.json", "registration.json"))
    assert {row["model"] for row in scores["rows"]} == {"ict"} == scores["models"].keys()
    assert json.loads((place / "metrics.json").read_text()).keys() == {"ict"}
    assert json.loads((place / "levels.json").read_text())["model_sha256"] == record["model_sha256"]
    assert record["version"] == 1 and "champion" in record["aliases"]
    assert "teacher" not in record and "teacher_version" not in record["lineage"]
    assert "teacher_sha256" not in record["lineage"]


@pytest.mark.slow
def test_such_a_student_is_edited_and_reported_too(alone):
    project, _ = alone
    words = f"--params=recipe=ict,{SHORT}"
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=edit,report", words)
    assert code == 0 and "ict learned from data alone" in output, output
    place = project.root / "data/08_reporting/test/ict"
    tasks = {edit["task"] for edit in json.loads((place / "edits.json").read_text())}
    assert "inpaint" in tasks and "interpolate images" not in tasks, "which only a teacher makes"
    page = (place / "report.html").read_text()
    parts = re.findall(r"<h2>(.*?)</h2>", page)
    assert "Samples" in parts and "One noise through the levels" not in parts and "its teacher" not in page
    assert {row["model"] for row in json.loads((place / "sampler_scores.json").read_text())["rows"]} == {"ict"}


@pytest.mark.slow
def test_both_names_of_the_students_pipeline_train_what_the_recipe_says(alone):
    project, _ = alone
    for name in ("train", "distill"):
        code, output = project.run_here(
            "kedro", "run", "--env=test", f"--pipelines={name}", f"--params=recipe=ict,{SHORT}"
        )
        assert code == 0 and "ict: this training is finished" in output, output
