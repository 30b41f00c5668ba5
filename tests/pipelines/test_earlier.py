"""A student of several stages: one command makes them all, and its lineage names them."""

import json
from dataclasses import replace

import pytest
from mlflow import MlflowClient

from fewstep.data import ingest
from fewstep.models.model import Model, SavedModel, build_function
from fewstep.training.job import Job

pytestmark = pytest.mark.slow
SHORT = "launch.workers=0,launch.threads=1,teacher.training.images=64,recipes.every.training.images=64"
WORDS = f"--params=recipe=tcm,{SHORT},evaluation.student_nfe=[1]"


@pytest.fixture(scope="module")
def staged(tmp_path_factory, begin_project):
    """A fresh project after the whole journey of a recipe with an earlier one, and what it printed."""
    project = begin_project(tmp_path_factory.mktemp("staged") / "project")
    code, output = project.run("kedro", "run", "--env=test", WORDS)
    assert code == 0, output
    return project, output


def test_one_command_trains_both_stages_and_the_lineage_names_them(staged):
    project, _ = staged
    student = SavedModel.open(project.root / "data/06_models/test/tcm")
    (run,) = project.glob("runs/test/ect-*")
    first = SavedModel.open(run / "model")
    made_by = student.spec.provenance
    assert made_by.start == "earlier" and made_by.earlier is not None
    told = {"name": "ect", "run": run.name, "sha256": first.sha256}
    assert {key: made_by.earlier[key] for key in told} == told
    assert made_by.teacher_sha256 == made_by.earlier["teacher_sha256"] == first.spec.provenance.teacher_sha256
    assert [stage.images for stage in made_by.stages] == [64, 64]
    record = json.loads((project.root / "data/08_reporting/test/tcm/registration.json").read_text())
    lineage = {key: record["lineage"][key] for key in ("earlier", "earlier_sha256", "earlier_run")}
    assert lineage == {"earlier": "ect", "earlier_sha256": first.sha256, "earlier_run": run.name}
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    (version,) = client.search_model_versions("name = 'fewstep-test'")
    assert f"after `ect` (`{first.sha256:.12}`)" in version.description


def test_the_first_stage_is_trained_once_also_where_the_second_begins_anew(staged):
    project, _ = staged
    before = {folder.name for folder in project.glob("runs/test/*-*")}
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=distill", f"{WORDS},fresh=true")
    assert code == 0 and "ect: this training is finished" in output and "tcm: this training is finished" not in output
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=distill", f"--params=recipe=ect,{SHORT}")
    assert code == 0 and "ect: this training is finished" in output
    assert {folder.name for folder in project.glob("runs/test/*-*")} == before


def test_an_earlier_model_of_other_images_or_of_another_recipe_is_refused(typed_parameters, job_after, tmp_path):
    images = ingest({"name": "patches", "count": 64}, tmp_path / "patches")
    recipe = typed_parameters("test", recipe="tcm").student
    teacher = job_after(typed_parameters("test", recipe="tcm").teacher, images)

    def model_of(name, spec):
        return Model(build_function(spec, images.space), images.space, spec).save(tmp_path / name)

    taught = model_of("teacher", replace(teacher.spec, provenance=teacher.provenance))
    first = recipe.earlier.spec(images.sha256)
    Job.of(recipe, images, taught, model_of("ect", first))
    with pytest.raises(ValueError, match="tcm: the model of ect in .*other was trained on other images"):
        Job.of(recipe, images, taught, model_of("other", replace(first, data_sha256="0" * 64)))
    with pytest.raises(ValueError, match="it goes on from a model of the recipe ect, and that is a model of cd"):
        Job.of(recipe, images, taught, model_of("cd", replace(first, name="cd")))
    with pytest.raises(ValueError, match="tcm: it goes on from a model of the recipe ect, and none is given"):
        Job.of(recipe, images, taught)
