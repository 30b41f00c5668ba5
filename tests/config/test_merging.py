import shutil
from pathlib import Path

import pytest

from fewstep.config.merging import chosen, merged, overlaid
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS

CONF = Path(__file__).parents[2] / "conf"
OVERLAYS = sorted(folder.parent.name for folder in CONF.glob("*/parameters"))


def test_above_wins_key_by_key():
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"c": 3}}) == {"a": {"b": 1, "c": 3}}


def test_null_takes_away_what_is_below():
    assert merged({"a": {"b": 1, "c": {"d": 2}}}, {"a": {"c": None}}) == {"a": {"b": 1}}


def test_a_section_of_another_name_replaces_the_whole_one():
    assert merged({"n": {"name": "unet", "channels": 3}}, {"n": {"name": "mlp"}}) == {"n": {"name": "mlp"}}
    assert merged({"n": {"name": "mlp", "channels": 3}}, {"n": {"name": "mlp", "depth": 1}}) == {
        "n": {"name": "mlp", "channels": 3, "depth": 1}
    }


def test_a_name_that_does_not_belong_takes_nothing_away():
    assert merged({"seed": 0, "source": {"name": "a"}}, {"name": 1}) == {"seed": 0, "source": {"name": "a"}, "name": 1}


def test_an_overlay_speaks_of_every_recipe_and_over_that_of_one():
    base = {"recipes": {"cd": {"seed": 1, "levels": {2: [1], 3: [2, 1]}}, "ct": {"seed": 2}}}
    overlay = {"recipes": {"every": {"seed": 3, "levels": None}, "cd": {"levels": {2: [5]}}, "ct": {"seed": 4}}}
    assert overlaid(base, overlay) == {"recipes": {"cd": {"seed": 3, "levels": {2: [5]}}, "ct": {"seed": 4}}}


def test_a_recipe_has_the_network_of_all_with_what_it_says_of_it_and_the_chosen_one_what_student_says():
    config = {"dataset": "d", "network": {"name": "unet", "channels": 8}, "student": {"seed": 5}, "recipe": "cd"}
    recipes = {"cd": {"network": {"dropout": 0.1}}, "ct": {"network": {"name": "mlp"}}}
    found = chosen({**config, "recipes": recipes, "teacher": {"seed": 1}})
    assert found["student"] == found["students"]["cd"]
    assert found["student"] == {"name": "cd", "network": {"name": "unet", "channels": 8, "dropout": 0.1}, "seed": 5}
    assert found["students"]["ct"] == {"name": "ct", "network": {"name": "mlp"}}
    assert found["teacher"] == {"name": "teacher", "network": config["network"], "seed": 1} and "recipes" not in found


def test_an_earlier_recipe_is_whole_and_changed_where_it_says_so():
    config = {"dataset": "d", "network": {"name": "unet"}, "recipe": "b", "teacher": {"seed": 7}}
    recipes = {
        "a": {"seed": 1, "training": {"images": 5, "clip": 1}},
        "b": {"earlier": {"like": "a", "training": {"images": 9}}},
        "c": {"earlier": {"like": "b"}},
        "d": {"earlier": {"like": "teacher", "seed": 8}},
    }
    found = chosen({**config, "recipes": recipes, "student": {"earlier": {"seed": 3}}})
    network = {"network": {"name": "unet"}}
    before = {"name": "a", **network, "seed": 3, "training": {"images": 9, "clip": 1}}
    assert found["student"] == found["students"]["b"] == {"name": "b", **network, "earlier": before}
    assert found["students"]["c"]["earlier"] == found["student"]
    assert found["students"]["d"]["earlier"] == {"name": "teacher", **network, "seed": 8}
    with pytest.raises(ValueError, match="There is no recipe or teacher '[ab]' of"):
        chosen({**config, "recipes": recipes | {"a": {"earlier": {"like": "b"}}}})
    with pytest.raises(ValueError, match="There is no recipe or teacher .. of recipes.b.earlier.like"):
        chosen({**config, "recipes": recipes | {"b": {"earlier": {"seed": 1}}}})


@pytest.fixture(scope="module")
def renamed(tmp_path_factory):
    """A function of (env, recipe): the parameters where base has a new recipe, `mine`, which is cd renamed."""
    conf = tmp_path_factory.mktemp("project") / "conf"
    shutil.copytree(CONF, conf, ignore=shutil.ignore_patterns("local"))
    recipes = conf / "base" / "parameters" / "recipes"
    (recipes / "mine.yml").write_text((recipes / "cd.yml").read_text().replace("cd:", "mine:"))

    def parameters(env, recipe, **given):
        given = {"recipe": recipe, **given}
        return RecipeConfigLoader(str(conf), env=env, runtime_params=given, **CONFIG_LOADER_ARGS).parameters

    return parameters


@pytest.mark.slow
@pytest.mark.parametrize("env", OVERLAYS)
def test_a_new_recipe_is_one_file_in_every_overlay(env, renamed):
    """Its labels, its flips and what it shows while it trains are those of the others."""
    found = renamed(env, "mine")
    mine, pd = found.student, found.students["pd"]
    shared = ("labels", "label_dropout", "flips", "checkpoint_every", "progress_every", "pictures_every")
    assert [getattr(mine.training, key) for key in shared] == [getattr(pd.training, key) for key in shared]


def test_params_speak_of_every_recipe_too(renamed):
    given = {"recipes": {"every": {"training": {"images": 320}}}}
    students = renamed("test", "mine", **given).students
    assert {student.training.images for student in students.values()} == {320} and "mine" in students
