"""What the README and docs/ say is there: commands, parameters, places, packages, figures."""

import ast
import re
import shlex
import shutil
import tomllib
from functools import cache
from pathlib import Path

import pytest
import yaml
from PIL import Image

from fewstep.cli import main, run
from fewstep.config.parameters import to_json
from fewstep.pipeline_registry import register_pipelines
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.pipelines.params_text import read_params
from fewstep.reporting.leaderboard import Leaderboard, leaderboard_table
from fewstep.settings import CONFIG_LOADER_ARGS

PROJECT = Path(__file__).parents[1]
CONF, SOURCE = PROJECT / "conf", PROJECT / "src" / "fewstep"
README = (PROJECT / "README.md").read_text()
RESULTS = (PROJECT / "docs" / "results.md").read_text()
CONTRIBUTING = (PROJECT / "CONTRIBUTING.md").read_text()
PAGES = {file.relative_to(PROJECT).as_posix(): file.read_text() for file in sorted(PROJECT.glob("docs/*.md"))}
PAGES["CONTRIBUTING.md"] = CONTRIBUTING
DEPENDENCIES = PAGES["docs/dependencies.md"]
LOOKED_UP = ("dependencies", "dvc", "exchange", "glossary", "methods", "pipelines")
# Whose every word of code is looked up.
WHOLE = "\n".join([README, CONTRIBUTING, *(PAGES[f"docs/{name}.md"] for name in LOOKED_UP)])
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", WHOLE, re.DOTALL | re.MULTILINE)
SPANS = [" ".join(span.split()) for span in re.findall(r"`([^`]+)`", WHOLE.replace("```", ""))]
LINES = [line for block in BLOCKS for line in block.splitlines()]
PAGED = re.findall(
    r"^((?:kedro run|fewstep|make) .*)|`((?:kedro run|fewstep|make) [^`]*)`", "\n".join(PAGES.values()), re.M
)
COMMENTS = [
    command.rstrip(":.,")
    for file in CONF.rglob("*.yml")
    for command in re.findall(r"# .*?\b(kedro run(?: -\S+)+)", file.read_text())
]
# What the reader makes, in the README's words.
RECIPE = "conf/base/parameters/recipes/mine.yml"
MADE = {
    ".venv/bin/activate",
    ".venv/ready",
    ".venv/extras",
    "dist/sbom.json",
    "build/site",
    "data/01_raw/images",
    "data/06_models/digits/cd",
    "data/08_reporting/digits/cd/metrics.json",
    "data/08_reporting/digits/comparison/leaderboard.json",
    "src/fewstep/objectives/mine.py",
    RECIPE,
}
SETTING = r"([a-z_]+(?:\.[a-z_]+)+)(?:(?:: |=)(\S+))?"
FILES = (".py", ".md", ".yml", ".yaml", ".json", ".lock", ".toml")

pytestmark = pytest.mark.slow


def commands(program: str) -> list[str]:
    """The commands of a program, without comments; options that stand alone in a sentence are `kedro run`'s."""
    written = [*LINES, *map("".join, PAGED)]
    lines = [part.strip() for line in written for part in re.sub(r"\s# .*", "", line).split("&&")]
    found = [f"kedro run {text}" if text.startswith("--") else text for text in [*lines, *SPANS, *COMMENTS]]
    return sorted({text for text in found if text.startswith(f"{program} ")})


def settings() -> list[tuple[str, str | None]]:
    """Parameters that a sentence names, with the value it gives them."""
    named = [re.fullmatch(SETTING, span) for span in SPANS if not span.endswith(FILES)]
    return sorted({(match[1], match[2] or "") for match in named if match})


@pytest.fixture(scope="module")
def conf(tmp_path_factory):
    """The configuration with the recipe that the README has its reader write: cd under another name."""
    folder = tmp_path_factory.mktemp("project") / "conf"
    shutil.copytree(CONF, folder, ignore=shutil.ignore_patterns("local"))
    (folder / "local").mkdir()
    mine = folder.parent / RECIPE
    mine.write_text(mine.with_name("cd.yml").read_text().replace("cd:", "mine:"))
    return folder


def parameters(conf: Path, env: str | None = None, given: dict | None = None) -> dict:
    return to_json(RecipeConfigLoader(str(conf), env=env, runtime_params=given or {}, **CONFIG_LOADER_ARGS).parameters)


@cache
def known(conf: Path, env: str | None = None) -> dict:
    """The parameters of a configuration to which nothing is given."""
    return parameters(conf, env)


def unknown(given: dict, known: object) -> list[str]:
    """Names of parameters that are not among the known ones."""
    if not isinstance(known, dict):
        return []
    below = [f"{k}.{n}" for k, v in given.items() if k in known and isinstance(v, dict) for n in unknown(v, known[k])]
    return [k for k in given if k not in known] + below


@pytest.mark.parametrize("command", commands("kedro run"))
def test_a_run_names_pipelines_envs_and_parameters_that_there_are(command, conf):
    asked = run.make_context("kedro run", shlex.split(command)[2:]).params
    assert set(asked["pipelines"]) <= set(register_pipelines())
    given = read_params(asked["params"])
    assert parameters(conf, asked["env"], given)
    assert unknown(given, known(conf, asked["env"])) == []


@pytest.mark.parametrize("name, value", settings())
def test_a_parameter_has_its_name_and_takes_its_value(name, value, conf):
    name = name if name.split(".")[0] in known(conf) else f"student.{name}"
    asked = read_params(f"{name}={value or 1}")  # a sentence names a parameter alone
    assert unknown(asked, known(conf)) == []
    assert not value or parameters(conf, given=asked)


@pytest.mark.parametrize("command", commands("fewstep"))
def test_a_command_of_ours_is_there(command, takes):
    words = shlex.split(command)[1:]
    takes(main, words if len(words) > 1 else [*words, "..."])  # a sentence names a command alone


def test_what_make_makes():
    targets = re.findall(r"^(?!\.PHONY)([\w./-]+):", (PROJECT / "Makefile").read_text(), re.MULTILINE)
    named = {word for command in commands("make") for word in command.split()[1:]}
    assert named == set(targets)


def test_models_are_named_after_data_sets_that_there_are(conf):
    envs = [None, *(folder.name for folder in CONF.iterdir() if (folder / "globals.yml").exists())]
    datasets = [parameters(conf, env)["dataset"] for env in envs]
    names = {f"{project}-{dataset}" for dataset in datasets for project in ("fewstep", "onestep")}  # and as they were
    assert set(re.findall(r"models:/([\w-]+)", "".join([README, *PAGES.values()]))) <= names
    assert parameters(conf, "images")["data"]["source"]["path"] in MADE


def places() -> list[str]:
    """Every word of the code that names a file or a folder of the project."""
    words = [word for text in [*SPANS, *LINES] for word in re.findall(r"[^\s'\"(),;=]+", text)]
    named = {
        re.sub(r"\.yml:[\w.]+$", ".yml", word.rstrip(".:")) for word in words if "/" in word or word.endswith(FILES)
    }
    return sorted(word for word in named if ":/" not in word and not word.startswith("/"))


@pytest.mark.parametrize("place", places())
def test_a_place_is_there(place):
    folder = "" if "/" in place else "**/"
    assert place in MADE or (PROJECT / place).exists() or any(SOURCE.glob(f"{folder}{place}"))


@pytest.mark.parametrize("document", ["README.md", *PAGES])
def test_links_lead_somewhere(document):
    file = PROJECT / document
    links = re.findall(r"\]\(([^)#]+)", file.read_text())
    assert [link for link in links if "://" not in link and not (file.parent / link).exists()] == []


def test_a_file_has_as_many_lines_as_a_sentence_says():
    said = re.findall(r"`(\w+\.py)` is (\d+) lines", "\n".join([README, *PAGES.values()]))
    found = [(name, str(len(file.read_text().splitlines()))) for name, _ in said for file in SOURCE.glob(f"*/{name}")]
    assert said == found != []


def test_the_readme_leads_to_every_page():
    assert [name for name in PAGES if f"({name})" not in README] == []


ARCHITECTURE = (PROJECT / "ARCHITECTURE.md").read_text()


def floors() -> list[list[str]]:
    """The packages of each floor of the import contracts, the highest first."""
    contract = tomllib.loads((PROJECT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"][0]
    return [re.findall(r"\w+", layer) for layer in contract["layers"]]


def test_the_picture_of_the_floors_has_the_packages_that_there_are():
    drawn = Image.open(PROJECT / "docs/pictures/floors.png").text["Description"]
    assert drawn.splitlines() == [" ".join(packages) for packages in floors()]
    there = {path.parent.name for path in SOURCE.glob("*/*.py")} | {path.stem for path in SOURCE.glob("[!_]*.py")}
    assert {name for packages in floors() for name in packages} == there


@pytest.mark.parametrize("package", [name for packages in floors() for name in packages])
def test_a_package_says_in_a_line_what_it_holds(package):
    """Which the picture shows."""
    place = SOURCE / package
    file = place / "__init__.py" if place.is_dir() else place.with_suffix(".py")
    assert (ast.get_docstring(ast.parse(file.read_text())) or "").split("\n")[0].endswith((".", "`"))


def test_the_architecture_names_places_that_there_are():
    linked = re.findall(r"\]\(([^)#:]+)\)", ARCHITECTURE)
    named = [span for span in re.findall(r"`([^` ]+)`", ARCHITECTURE) if re.fullmatch(r"[\w/.]*(/|\.\w{2,4})", span)]
    assert len(linked) > 3 and len(named) > 8
    kept = [place for place in (*linked, *named) if place not in ("runs/",)]  # which a run makes
    assert [name for name in kept if not any((root / name).exists() for root in (PROJECT, SOURCE))] == []


FACTS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((PROJECT / "CITATION.cff").read_text())
    assert (citation["version"], citation["license"]) == (FACTS["version"], FACTS["license"])


def test_the_badge_and_the_workflow_have_the_pythons_that_the_package_takes():
    low, high = re.search(r"!\[Python 3\.(\d+) to 3\.(\d+)\]", README).groups()
    assert FACTS["requires-python"] == f">=3.{low},<3.{int(high) + 1}"
    workflow = yaml.safe_load((PROJECT / ".github/workflows/test.yml").read_text())
    pythons = [f"3.{minor}" for minor in range(int(low), int(high) + 1)]
    assert workflow["jobs"]["test"]["strategy"]["matrix"]["python"] == pythons


def test_the_readme_is_read_in_a_few_minutes():
    assert len(README.splitlines()) <= 130


def test_every_package_is_named_with_its_reason():
    extras = FACTS["optional-dependencies"]
    direct = [re.match(r"[\w-]+(\[\w+\])?", each)[0] for each in FACTS["dependencies"] + extras["test"]]
    table = DEPENDENCIES.split("| package |")[1].split("\n\n")[0]
    named = [name for row in re.findall(r"^\| (\w.*?) \| \w", table, re.MULTILINE) for name in row.split(", ")]
    assert sorted(named) == sorted(direct)
    sentence = re.search(r"^Extras: (.*)", DEPENDENCIES, re.MULTILINE)[1]
    assert set(re.findall(r"`(\w+)` \(", sentence)) == set(extras) - {"test"}


def cells(table: str) -> list[list[str]]:
    """Rows of a Markdown table that hold numbers."""
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines() if row.startswith("|")]
    return [row for row in rows if re.fullmatch(r"[\d.]+", row[-1])]


def as_shown(value: float, shown: str) -> str:
    """A figure with the digits that a table shows."""
    return f"{value:,.{len(shown.partition('.')[2])}f}"


def test_the_readmes_figures_are_those_of_the_committed_scores(committed_metrics):
    rows = cells(README.split("FID (digits features)")[1].split("\n\n")[0])
    assert len(rows) > 3
    for who, nfe, shown in rows:
        model = "cd" if who == "student `cd`" else "teacher"
        place = f"nfe_{int(nfe):02d}" if nfe else "floor"
        assert shown == as_shown(committed_metrics[model][f"fid_digits/{place}"], shown), f"{who}, {place}"


def test_the_results_are_all_of_the_committed_scores(committed_metrics):
    head, *rows = [line.split() for line in re.search(r"```\n(model .*?)```", RESULTS, re.DOTALL)[1].splitlines()]
    names, seen = head[3:-1], set()  # the speed is each machine's own
    for model, sampler, *shown in (row for row in rows if len(row) > 1):
        other = "" if sampler in ("multistep", "heun") else f"{sampler}_"
        place = f"{other}nfe_{int(shown.pop(0)):02d}" if model != "floor" else "floor"
        for name, value in zip(names, shown, strict=False):
            facts = committed_metrics["teacher" if model == "floor" else model]
            assert value == as_shown(facts[f"{name}/{place}"], value), f"{model}, {name}/{place}"
            seen.add((model, f"{name}/{place}"))
    kept = {(m, k) for m, facts in committed_metrics.items() for k in facts if not k.startswith("sampling_")}
    assert seen == {("floor" if key.endswith("/floor") else model, key) for model, key in kept}


def test_the_results_have_the_leaderboard_that_is_committed(committed_leaderboard):
    _, methods, reference, *_ = leaderboard_table(Leaderboard.from_json(committed_leaderboard)).split("\n\n")
    assert re.search(r"```\n(method .*?)\n```", RESULTS, re.DOTALL)[1] == f"{methods}\n\n{reference}"
