"""What conf/ says, wherever it says it: recipe and dataset have one value for parameters and catalog alike."""

import json
import shutil
from pathlib import Path

import pytest

from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.params_text import read_params
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.support.errors import InvalidInput

CONF = Path(__file__).parents[2] / "conf"


@pytest.fixture
def conf(tmp_path, monkeypatch):
    """A copy of the configuration, in the folder where one is."""
    shutil.copytree(CONF, tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    monkeypatch.chdir(tmp_path)
    return Path("conf")


def loader(env=None, **given) -> RecipeConfigLoader:
    return RecipeConfigLoader("conf", env=env, runtime_params=given, **CONFIG_LOADER_ARGS)


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


PLACES = {  # where a user may write both names
    "base, globals": (None, "base/globals.yml", "dataset: mine\nrecipe: ect\n"),
    "base, parameters": (None, "base/parameters.yml", None),
    "local, globals": (None, "local/globals.yml", "dataset: mine\nrecipe: ect\n"),
    "local, parameters": (None, "local/parameters.yml", "dataset: mine\nrecipe: ect\n"),
    "local, a file of parameters": (None, "local/parameters/mine.yml", "dataset: mine\nrecipe: ect\n"),
    "an overlay, globals": ("images", "images/globals.yml", "dataset: mine\nrecipe: ect\n"),
    "an overlay, parameters": ("images", "images/parameters/names.yml", "dataset: mine\nrecipe: ect\n"),
    "a new overlay": ("own", "own/parameters.yml", "dataset: mine\nrecipe: ect\n"),
    "--params": (None, None, {"dataset": "mine", "recipe": "ect"}),
    "--params over an overlay": ("labels", None, {"dataset": "mine", "recipe": "ect"}),
    "parameters over globals": (None, "local/parameters.yml", "dataset: mine\nrecipe: ect\n"),
}


@pytest.mark.parametrize("env, file, text", PLACES.values(), ids=PLACES)
def test_a_name_means_the_same_to_parameters_and_catalog(env, file, text, conf):
    if file == "base/parameters.yml":  # what was there is edited: two files of one folder must not say the same
        for name, old, new in (("run", "${globals:recipe}", "ect"), ("run", "${globals:dataset}", "mine")):
            place = conf / "base" / "parameters" / f"{name}.yml"
            place.write_text(place.read_text().replace(old, new))
    elif file:
        write(conf / file, text)
    found = loader(env, **(text if isinstance(text, dict) else {}))
    parameters, catalog = found.parameters, found["catalog"]
    assert (parameters.dataset, parameters.recipe, parameters.student.name) == ("mine", "ect", "ect")
    assert catalog["student"]["filepath"] == "data/06_models/mine/ect"
    assert catalog["images"]["filepath"].startswith("data/02_intermediate/mine/")
    assert catalog["{recipe}_contestant"]["filepath"] == "data/06_models/mine/comparison/{recipe}"


def test_the_catalog_alone_has_the_same_names(conf):
    write(conf / "local" / "parameters.yml", "recipe: ect\n")
    assert loader()["catalog"]["student"]["filepath"] == "data/06_models/digits/ect"


def test_whoever_asks_for_a_global_is_told_the_name_that_was_decided(conf):
    write(
        conf / "local" / "parameters.yml", "dataset: mine\ndata: {source: {name: folder, path: '${globals:dataset}'}}\n"
    )
    assert loader().parameters.data.source["path"] == "mine"


def test_params_have_the_last_word(conf):
    write(conf / "local" / "parameters.yml", "recipe: ect\n")
    found = loader(recipe="ct")
    assert (found.parameters.recipe, found["catalog"]["student"]["filepath"]) == ("ct", "data/06_models/digits/ct")


UNKNOWN = [
    "teacher.training.imagess",
    "recipes.ect.seeds",
    "dat",
    "student.levelz",
    "data.source.pathh",
    "network.dropoutt",
]
UNKNOWN += ["recipes.every.objective.levelz", "teacher.preconditioning.bound"]


@pytest.mark.parametrize("place", UNKNOWN)
def test_null_for_a_parameter_that_there_is_not_is_refused(place, conf):
    with pytest.raises(ValueError, match=f"There is no parameter '{place.rpartition('.')[2]}'"):
        loader(**read_params(f"{place}=null"))["parameters"]
    write(conf / "local" / "parameters.yml", json.dumps(read_params(f"{place}=null")))
    with pytest.raises(ValueError, match=f"There is no parameter '{place.rpartition('.')[2]}'"):
        loader()["parameters"]


@pytest.mark.parametrize(
    "place",
    [
        *("teacher.training.images", "recipes.ect.seed", "recipes.every.levels", "student.levels.2", "data.scale"),
        *("data.source.path", "network.dropout", "recipes.every.objective.level_mean"),  # of another source and method
    ],
)
def test_null_takes_away_whatever_parameter_there_is(place, conf):
    write(conf / "local" / "parameters.yml", json.dumps(read_params(f"{place}=null")))
    loader(**read_params(f"{place}=null"))["parameters"]


def test_a_number_may_name_a_data_set(conf):
    assert loader(dataset=2024).parameters.dataset == "2024"


def test_a_missing_conf_local_says_nothing(conf):
    assert not (conf / "local").exists() and loader().parameters.recipe == "cd"


WRONG = {
    "a tab": ("a:\n\tb: 1\n", "conf/local/parameters.yml, line 2: a tab: indent with spaces."),
    "unknown resolver": (
        "data:\n  seed: ${seed:1}\n",
        "conf/local/parameters.yml, line 2: data.seed cannot be made out: Unsupported interpolation type seed.",
    ),
    "unknown key": ("fresh: ${globals:nothing}\n", "conf/local/parameters.yml, line 1: fresh cannot be made out: "),
}


@pytest.mark.parametrize("text, message", WRONG.values(), ids=WRONG)
def test_what_cannot_be_read_is_named_with_its_line(text, message, conf):
    write(conf / "local" / "parameters.yml", text)
    with pytest.raises(InvalidInput) as caught:
        loader().parameters  # noqa: B018
    assert str(caught.value).startswith(message) and "\n" not in str(caught.value)


def test_a_file_of_globals_is_checked_too(conf):
    write(conf / "local" / "globals.yml", "dataset: [a\n")
    with pytest.raises(InvalidInput, match=r"conf/local/globals.yml, line 1: the bracket"):
        loader()


def test_two_files_that_say_the_same_are_named(conf):
    for name in ("a", "b"):
        write(conf / "local" / "parameters" / f"{name}.yml", "recipe: ect\n")
    with pytest.raises(InvalidInput, match=r"Duplicate keys found in .*[ab].yml and .*[ab].yml: recipe"):
        loader().parameters  # noqa: B018


@pytest.mark.parametrize(
    "text, name", [("teacher: 0\n", "teacher"), ("\nteacher:\n  training: 5\n", "teacher.training")]
)
def test_a_value_beside_a_section_of_its_name_in_another_file_is_refused(text, name, conf):
    for place in ("a.yml", "z.yml"):  # the later one would win
        (conf / "test/parameters" / place).write_text(text)
        with pytest.raises(InvalidInput) as refusal:
            loader("test")["parameters"]
        where = f"conf/test/parameters/{place}, line {1 + 2 * text.startswith(chr(10))}"
        assert str(refusal.value) == f"{where}: {name} is a value, and a section in conf/test/parameters/test.yml."
        (conf / "test/parameters" / place).unlink()


def test_several_loaders_each_have_their_own_names(conf):
    """Catalogs are made when they are asked for, after all of the loaders were made."""
    loaders = {recipe: loader(recipe=recipe) for recipe in ("ect", "cd", "ict")}
    for recipe, each in loaders.items():
        assert Path(each["catalog"]["student"]["filepath"]).name == recipe == each.parameters.student.name


UNREADABLE = {
    "an open reference": ("parameters.yml", "a: 1\nrecipe: ${x\n", "conf/local/parameters.yml, line 2: '${' is not"),
    "one in globals": ("globals.yml", "dataset: ${x\n", "conf/local/globals.yml, line 1: '${' is not closed"),
    "one in the catalog": ("catalog.yml", "images: {filepath: '${'}\n", "conf/local/catalog.yml, line 1: '${' is not"),
    "a tag": ("parameters.yml", "dataset: !foo bar\n", "conf/local/parameters.yml, line 1: could not determine"),
    "no name": ("parameters.yml", "null: 2\n", "conf/local/parameters.yml"),
    "a set": ("parameters.yml", "network: !!set {a}\n", "conf/local/parameters.yml"),
    "itself": ("globals.yml", "dataset: ${globals:dataset}\n", "globals cannot refer to ${globals:...}, themselves"),
}


@pytest.mark.parametrize("name, text, message", UNREADABLE.values(), ids=UNREADABLE)
def test_a_file_that_cannot_be_read_is_named_in_one_line(name, text, message, conf):
    write(conf / "local" / name, text)
    with pytest.raises(InvalidInput) as caught:
        (found := loader()).parameters, found["catalog"]
    assert message in str(caught.value) and "\n" not in str(caught.value)
