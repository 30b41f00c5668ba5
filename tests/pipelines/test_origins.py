"""Where each parameter has its value from: a file with the line that says so, --params, or the default."""

import shutil
from pathlib import Path

import pytest

from fewstep.config.parameters import to_json
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.origins import MarkingLoader, resolved
from fewstep.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"

pytestmark = pytest.mark.slow


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of the configuration, in the folder where one is."""
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    monkeypatch.chdir(tmp_path)
    return Path("conf")


def found(env=None, **given) -> dict[str, tuple]:
    """{parameter: (value, origin)} of a run."""
    loader = RecipeConfigLoader("conf", env=env, runtime_params=given, **CONFIG_LOADER_ARGS)
    rows = resolved(loader.parameters, MarkingLoader.like(loader).origins())
    return {name: (value, origin) for name, value, origin in rows}


@pytest.mark.parametrize("env", [None, "cifar10", "labels", "moons", "trig"])
def test_the_line_that_is_named_names_the_parameter(env, conf):
    rows = found(env, recipe="ctm")
    files = {}
    for name, (_, origin) in rows.items():
        file, _, line = origin.rpartition(":")
        if file:
            text = Path(file).read_text().splitlines()[int(line) - 1]
            assert f"{name.split('.')[-1]}:" in text, f"{name}: {origin}: {text}"
            files.setdefault(file, []).append(name)
    assert len(rows) > 80 and len(files) > 8
    assert env is None or any(file.startswith(f"conf/{env}/") for file in files)


def test_the_last_word_is_named(conf):
    (conf / "local").mkdir()
    (conf / "local" / "mine.yml").write_text("{}\n")
    (conf / "local" / "parameters.yml").write_text("student:\n  seed: 3\nlaunch:\n  threads: null\n")
    rows = found(recipe="ect", evaluation={"teacher_nfe": {"heun": [5]}})
    assert rows["student.seed"] == (3, "conf/local/parameters.yml:2")
    assert rows["launch.threads"] == (0, "default")
    assert rows["recipe"] == ("ect", "--params")
    assert rows["evaluation.teacher_nfe.heun"] == ((5,), "--params")
    assert rows["evaluation.teacher_nfe.euler"][1].startswith("conf/base/parameters/evaluation.yml:")
    assert rows["student.objective.q"][1].startswith("conf/base/parameters/recipes/ect.yml:")
    assert rows["student.network.channels"][1].startswith("conf/base/parameters/network.yml:")
    assert rows["student.training.betas"] == ((0.9, 0.999), "default")


def test_what_an_overlay_says_of_every_recipe_is_its_origin(conf):
    assert found("cifar10", recipe="facm")["student.training.images"][1].startswith(
        "conf/cifar10/parameters/cifar10.yml:"
    )


@pytest.mark.parametrize(
    "file, origin", [("images/globals.yml", "conf/images/globals.yml:1"), ("images/parameters/n.yml", None)]
)
def test_a_name_of_the_globals_has_their_origin(file, origin, conf):
    (conf / file).write_text("dataset: mine\n")
    assert found("images")["dataset"] == ("mine", origin or f"conf/{file}:1")
    assert found()["dataset"] == ("digits", "conf/base/globals.yml:2")


def test_the_values_are_those_of_a_run(conf, typed_parameters):
    rows = found("labels")
    known = to_json(typed_parameters("labels"))
    assert rows["student.training.images"][0] == known["student"]["training"]["images"]
    assert rows["evaluation.count"][0] == known["evaluation"]["count"]
    assert not any(name.startswith("students.") for name in rows)
