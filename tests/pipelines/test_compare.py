"""The comparison: every recipe at one budget, and one leaderboard."""

import json
import re
from dataclasses import replace

import pytest
from PIL import Image

from fewstep.evaluation.results import Evaluation

pytestmark = pytest.mark.slow
HERE = "launch.workers=0,launch.threads=1"
IN_TWO_STAGES = {"tcm"}  # which share the budget equally, in whole steps
# One of each kind; `make check` compares all of them.
RECIPES = ["cd", "ctm_gan", "ect", "ict", "imm", "meanflow", "pd", "scd", "tcm"]
OTHERS = r"^  (ayf|facm|cmt|ctm|dmd): .*\n"  # what the overlay of tests says of them


@pytest.fixture(scope="module")
def compared(tmp_path_factory, begin_project):
    """A project with a comparison, and what the command printed."""
    project = begin_project(tmp_path_factory.mktemp("compared") / "project")
    for file in project.glob("conf/base/parameters/recipes/*.yml"):
        if file.stem not in RECIPES:
            file.unlink()
    (overlay,) = project.glob("conf/test/parameters/*.yml")
    overlay.write_text(re.sub(OTHERS, "", overlay.read_text(), flags=re.MULTILINE))
    command = ("kedro", "run", "--env=test", "--pipelines=ingest,teacher,compare")
    code, output = project.run(*command, f"--params={HERE},teacher.training.images=64")
    assert code == 0, output
    return project, output


def test_every_recipe_has_its_line_and_its_place(compared):
    project, output = compared
    folder = project.root / "data/08_reporting/test/comparison"
    board = json.loads((folder / "leaderboard.json").read_text())
    methods = board["methods"]
    assert sorted(m["recipe"] for m in methods) == RECIPES
    firsts = [m["scores"]["1"][board["primary"]]["mean"] for m in methods]
    assert firsts == sorted(firsts)
    for method in methods:
        images, steps = method["images"], method["steps"]
        assert (images, steps) == ((128, 4) if method["recipe"] in IN_TWO_STAGES else (160, 5)), method["recipe"]
        assert method["seconds"] > 0
        assert [len(method["levels"][nfe]) for nfe in ("1", "2")] == [1, 2]
        assert all(len(score["values"]) == 2 for score in method["scores"]["2"].values())
        assert re.search(rf"^{method['recipe']} .*\b{images}\b", output, re.MULTILINE)
    assert {row["model"] for row in board["reference"]} == {"teacher"}
    for picture in ("ladder", "cost", "sheet"):
        assert Image.open(folder / f"{picture}.png").width > 600


def test_the_runs_are_in_one_experiment_with_their_scores(compared):
    from mlflow import MlflowClient

    project, _ = compared
    client = MlflowClient(f"sqlite:///{project.root / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("test-comparison")
    runs = client.search_runs([experiment.experiment_id])
    names = {run.data.tags["recipe"] for run in runs}
    assert names >= set(RECIPES) and len(runs) > len(names), "first stages have runs too"
    scored = [run.data.tags["recipe"] for run in runs if "scores_by_nfe/fid_test" in run.data.metrics]
    assert sorted(scored) == RECIPES


def test_scores_of_another_model_are_not_ranked(compared):
    project, _ = compared
    file = project.root / "data/08_reporting/test/comparison/contests/cd.json"
    before = file.read_text()
    others = replace(Evaluation.from_json(json.loads(before)), models={"cd": "0" * 64})
    file.write_text(json.dumps(others.to_json()))
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=compare", "--nodes=rank")
    file.write_text(before)
    assert code != 0 and re.search(
        r"contests/cd.json has scores of another model than .*comparison/cd.*--nodes=train_cd,score_cd", output
    )


def test_nothing_is_trained_twice(compared):
    project, _ = compared
    nodes = "--nodes=train_cd,train_pd,train_ctm_gan"
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=compare", nodes, f"--params={HERE}")
    assert code == 0 and output.count("this training is finished") == 3


def test_another_training_seed_is_another_training(compared):
    project, _ = compared
    seeded = f"--params={HERE},comparison.training_seed=3"
    code, output = project.run_here("kedro", "run", "--env=test", "--pipelines=compare", "--nodes=train_ict", seeded)
    assert code == 0 and "this training is finished" not in output
    places = (project.root / "runs/test/comparison").glob("ict-*/model/model.json")
    seeds = [json.loads(place.read_text())["provenance"]["seed"] for place in places]
    assert sorted(seeds) == [0, 3]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--pipelines=trian",), "no pipeline 'trian'. Did you mean 'train'"),
        (("--pipelines=compare", "--params=comparison.budget.unit=hours"), "no unit 'hours' of a budget"),
    ],
)
def test_what_cannot_run_is_named_before_work(compared, words, message):
    project, _ = compared
    code, output = project.run_here("kedro", "run", "--env=test", *words)
    assert code != 0 and re.search(message, output)
