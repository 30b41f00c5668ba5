"""A sweep: a student of its own for each combination, one table, and the same command goes on."""

import csv
import json
import re

import pytest
from click.testing import CliRunner
from kedro.framework.startup import bootstrap_project
from mlflow import MlflowClient

from fewstep.cli import cli, main

pytestmark = pytest.mark.slow


def typed(group, *words: str) -> tuple[int, str]:
    result = CliRunner().invoke(group, words)
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def trained(begin_project, tmp_path_factory):
    """A project with points and a teacher of them, where one is."""
    here = begin_project(tmp_path_factory.mktemp("swept") / "project").root
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.chdir(here)
        bootstrap_project(here)
        train(here)
        yield here


def train(here):
    small = "network: {name: mlp, channels: 16, num_blocks: 1}\nlaunch: {workers: 0, threads: 1}\n"
    training = "training: {images: 512, batch_size: 64, checkpoint_every: 256}"
    small += f"teacher: {{{training}}}\nrecipes: {{every: {{levels: null, {training}}}}}\n"
    small += "evaluation: {student_nfe: [1, 2], teacher_nfe: {heun: [3], euler: [1], deis_3: null}, count: 40}\n"
    small += "data: {source: {name: moons, count: 256}}\n"
    (here / "conf" / "moons" / "parameters" / "moons.yml").write_text(small)
    code, told = typed(cli, "run", "--env=moons", "--pipelines=ingest,teacher")
    assert code == 0, told


SWEEP = ("sweep", "--env=moons", "recipe=ect", "student.training.learning_rate=1e-3,2e-3")


def test_each_trial_has_its_own_student_scores_and_run_below_one(trained):
    code, told = typed(main, *SWEEP, "--plan")
    assert code == 0 and re.search(r"1 +1e-3 +8 ", told) and "in all" in told, told
    assert not list(trained.glob("data/06_models/moons/sweeps"))
    code, told = typed(main, *SWEEP)
    assert code == 0, told
    assert told.count("evaluate teacher: 100%") == 1  # scored once
    students = sorted(trained.glob("data/06_models/moons/sweeps/ect-*/model.json"))
    assert len(students) == 2 == len(list(trained.glob("data/08_reporting/moons/sweeps/ect-*/scores.json")))
    rates = [json.loads(file.read_text())["provenance"]["training"]["learning_rate"] for file in students]
    assert sorted(rates) == [0.001, 0.002]
    assert not (trained / "data/06_models/moons/ect").exists()
    assert re.search(r"^learning_rate +seeds +wasserstein 1 NFE +wasserstein 2 NFE +seconds$", told, re.MULTILINE)
    assert re.search(r"next, to score and register the best: kedro run --env=moons --params=recipe=ect,", told)
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("moons").experiment_id])
    (parent,) = [run for run in runs if run.info.run_name.startswith("sweep ect learning_rate=1e-3,2e-3")]
    below = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.info.run_name for run in below) == ["ect learning_rate=1e-3", "ect learning_rate=2e-3"]
    assert all("wasserstein_1nfe" in run.data.metrics for run in [parent, *below])
    assert {file.path for file in client.list_artifacts(parent.info.run_id)} >= {"trials.csv", "table.txt"}

    files = {file: file.stat().st_mtime_ns for file in students}
    code, told = typed(main, *SWEEP, "seeds=1")  # another sweep of the same trainings
    assert code == 0, told
    assert told.count("finished before") == 2 and "evaluate" not in told
    assert {file: file.stat().st_mtime_ns for file in students} == files
    a_training_that_diverges_is_noted_and_the_others_go_on(trained)  # here, because it leaves trials in the project


def a_training_that_diverges_is_noted_and_the_others_go_on(trained):
    exploding = ("student.training.optimizer=adamw", "student.training.learning_rate=1")
    code, told = typed(main, *SWEEP[:3], *exploding, "student.training.weight_decay=1000,0")
    assert code == 0, told
    (place,) = re.findall(r"^trials: (\S+)", told, re.MULTILINE)
    with (trained / place).open() as file:
        broken, other = csv.DictReader(file)
    assert "diverged at step" in broken["note"] and not broken["wasserstein/nfe_01"]
    assert not other["note"] and float(other["wasserstein/nfe_01"]) > 0
    assert re.search(r"^1000: ect diverged at step", told, re.MULTILINE)


@pytest.mark.check
def test_an_earlier_recipe_is_trained_once_for_all_trials_that_begin_there(trained):
    words = ("sweep", "--env=moons", "recipe=tcm", "student.objective.transition=0.2,0.3")
    code, told = typed(main, *words, "--plan")
    assert code == 0 and re.search(r"1 +0\.2 +8 ", told) and not list(trained.glob("runs/moons/tcm-*")), told
    code, told = typed(main, *words)
    assert code == 0 and told.count("ect: this training is finished") >= 1, told
    (first,) = {json.loads(file.read_text())["provenance"]["earlier"]["run"] for file in students(trained, "tcm")}
    assert first.startswith("ect-") and len(students(trained, "tcm")) == 2
    code, told = typed(main, *words)
    assert code == 0 and told.count("finished before") == 2, told
    code, told = typed(main, *words[:3], "student.earlier.seed=1,2", "--plan")
    assert code == 0 and "finished" not in told, told


@pytest.mark.check
def test_a_sampler_draws_values_and_a_longer_search_goes_on(trained):
    pytest.importorskip("optuna")
    words = (
        *SWEEP[:3],
        "student.training.learning_rate=1e-4:1e-2:log",
        "student.training.batch_size=32,64",
        "--sampler=tpe",
    )
    code, told = typed(main, *words, "--trials=2", "--plan")
    assert code == 0 and "2 trials take at most about" in told, told
    code, told = typed(main, *words, "--trials=2")
    assert code == 0 and "trial 2 of 2: ect learning_rate=" in told, told
    code, told = typed(main, *words, "--trials=3")
    assert code == 0 and told.count("finished before") == 2 and "trial 3 of 3" in told, told
    client = MlflowClient(f"sqlite:///{trained / 'mlflow.db'}")
    runs = client.search_runs([client.get_experiment_by_name("moons").experiment_id])
    names = [run.info.run_name for run in runs if run.info.run_name.startswith("sweep")]
    assert names.count("sweep ect learning_rate=1e-4:1e-2:log batch_size=32,64 by tpe") == 1


def students(here, recipe):
    """The descriptions of a recipe's students in trials."""
    return sorted(here.glob(f"data/06_models/moons/sweeps/{recipe}-*/model.json"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("recipe=ect,cdd",), "no recipe 'cdd'. Did you mean 'cd'"),
        (("student.training.learning_rte=1,2",), "no parameter 'learning_rte'.*Did you mean 'learning_rate'"),
        (("student.training.learning_rate=1e-3,-1",), "learning_rate must be above 0"),
        (("recipe=ect", "network.channels=16,32"), "the same network"),
        (("student.picture_nfe=[1],[2]",), "two trials are the same training: cd picture_nfe=.1., and cd picture_nfe="),
    ],
)
def test_what_cannot_be_trained_is_refused_before_any_work(trained, words, message):
    before = list(trained.glob("runs/moons/**/*"))
    code, told = typed(main, "sweep", "--env=moons", *words)
    assert code == 1 and re.search(message, told), told
    assert list(trained.glob("runs/moons/**/*")) == before


def test_a_sweep_needs_data(trained):
    code, told = typed(main, *SWEEP, "dataset=cats")
    assert code == 1 and "a sweep needs images" in told and "kedro run --env=moons --pipelines=ingest" in told


def test_a_trial_of_ones_own_lies_beside_the_usual_student(trained, typed_parameters):
    from fewstep.commands.project import context_of
    from fewstep.pipelines.places import place_of

    catalog = context_of("moons", runtime={"trial": "fast"}).catalog
    assert str(place_of(catalog, "student")) == "data/06_models/moons/fast"
    for name, message in (("cd", "the folder of another student"), ("a b", "trial must be a name")):
        with pytest.raises(ValueError, match=message):
            typed_parameters("moons", trial=name)
