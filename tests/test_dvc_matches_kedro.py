"""dvc.yaml says what the pipelines, the catalog and the imports say."""

import re
from pathlib import Path

import grimp
import pytest
import yaml
from kedro.framework.session import KedroSession
from kedro.framework.startup import bootstrap_project
from kedro.pipeline import Pipeline

from fewstep.pipeline_registry import recipe_names

PROJECT = Path(__file__).parents[1]
CONF = PROJECT / "conf" / "base"

# Inputs that say where and how work is done, and not what it makes.
HOW = {"runs", "tracking", "registry", "params:env", "params:launch", "params:fresh"}

# Code that a stage runs through, and that its outs do not depend on: what shows, carries or names things.
SHOWS = r"console|exchange|launch|diffusion\.(names|torchvision_ops)"
TRAINING = rf"{SHOWS}|tracking|evaluation|samplers|data\.(content|replacement)"
SCORING = (
    rf"{SHOWS}|tracking(?!\.scores)|pipelines\.(recipe|training)|training\.(?!model)|objectives|data(?!\.(space|store))"
)
TEACHERS = rf"{SCORING}|tracking|budget|trial|pipelines\.levels"
IRRELEVANT = {
    "ingest": rf"{SHOWS}|evaluation\.fidelity",
    "teacher": TRAINING,
    "distill": TRAINING,
    "evaluate": SCORING,
    "register": r"(?!tracking|pipelines\.register)",
    "contest": rf"{SHOWS}|tracking|data(?!\.(space|store))",
    "reference": TEACHERS,
    "leaderboard": TEACHERS,
}
DEFAULTS = {"ingest", "evaluate", "contest", "reference"}  # whose are in pipelines.parameters; the others' in recipe
NAMES = ["ingest", "teacher", "distill", "evaluate", "register"]
COMPARED = [*map("contest@{}".format, recipe_names()), "reference", "leaderboard"]


@pytest.fixture(scope="module")
def files():
    """{folder of a dvc.yaml: {name: its stage}}, as DVC reads them."""
    from dvc.repo import Repo

    found = {}
    with Repo(str(PROJECT)) as repo:
        for stage in repo.index.stages:
            found.setdefault(Path(stage.path).parent.relative_to(PROJECT).as_posix(), {})[stage.name] = stage
    return found


@pytest.fixture(scope="module")
def stages(files):
    """{name: its stage}."""
    return {**files["."], **files["comparison"]}


@pytest.fixture(scope="module")
def project():
    """Pipelines, catalog and parameters of --env=base."""
    bootstrap_project(PROJECT)
    from kedro.framework.project import pipelines

    with KedroSession.create(PROJECT, env="base") as session:
        context = session.load_context()
        yield dict(pipelines), context.catalog, context.params


@pytest.fixture(scope="module")
def imports():
    """Who imports whom in fewstep; without the root's fewstep.load, which only a user calls."""
    graph = grimp.build_graph("fewstep", exclude_type_checking_imports=True)
    for imported in ("fewstep.tracking", "fewstep.models.model"):
        graph.remove_import(importer="fewstep", imported=imported)
    return graph


def test_a_stage_for_each_pipeline(files, project):
    others = {"__default__", "train", "compare", "edit", "promote", "report"}
    assert set(files["."]) == set(project[0]) - others == set(NAMES)
    assert set(files["comparison"]) == set(COMPARED)


def test_the_comparison_has_the_nodes_of_its_pipeline(files, project):
    """Each node is in one stage, whose data are its own: a new recipe has its line in the matrix."""
    pipelines, catalog, _ = project
    left = {node.name for node in pipelines["compare"].nodes}
    for stage in files["comparison"].values():
        part = part_of(stage, pipelines)
        mine = {node.name for node in part.nodes}
        assert mine <= left
        left -= mine
        for datasets, edges in ((part.inputs() - HOW, stage.deps), (part.all_outputs(), stage.outs)):
            places = {place_of(catalog, d) for d in datasets if not d.startswith("params:")}
            assert all(any(is_below(p, e) for e in data_of(edges)) for p in places), stage.name
            assert all(any(is_below(p, e) for p in places) for e in data_of(edges)), stage.name
    assert not left


@pytest.mark.parametrize("name", NAMES)
def test_the_command_names_pipeline_and_env(stages, name):
    assert stages[name].cmd == f"kedro run --env=base --pipelines={name}"


@pytest.mark.parametrize("name", NAMES)
def test_data(stages, project, name):
    pipelines, catalog, _ = project

    def places(datasets):
        data = (d for d in datasets if d not in HOW and not d.startswith("params:"))
        return {place_of(catalog, d) for d in data}

    assert data_of(stages[name].deps) == places(pipelines[name].inputs())
    assert data_of(stages[name].outs) == places(pipelines[name].all_outputs())


@pytest.mark.parametrize("name", [*NAMES, *COMPARED])
def test_parameters(stages, project, name):
    pipelines, _, parameters = project
    inputs = part_of(stages[name], pipelines).inputs() - HOW
    used = {p.removeprefix("params:") for p in inputs if p.startswith("params:")}
    expected = {place for parameter in used for place in places_of(parameter, parameters["recipe"])}
    tracked = {(str(dep.def_path), key) for dep in stages[name].deps for key in getattr(dep, "params", ())}
    assert tracked == expected


@pytest.mark.parametrize("name", [*NAMES, *COMPARED])
def test_code(stages, project, imports, name):
    kind, _, recipe = name.partition("@")
    folder = f"pipelines.{kind if kind in NAMES else 'compare'}"
    reached = {name_of(m) for m in imports.find_upstream_modules(f"fewstep.{folder}.nodes")} - {"fewstep"}
    reached |= {f"{folder}.nodes", f"{folder}.pipeline"}
    trained = {"teacher": project[2]["teacher"], "distill": project[2]["student"], **project[2]["students"]}
    if spec := trained.get(recipe or kind):
        reached |= {f"objectives.{spec['objective']['name']}"}
    if kind in DEFAULTS:
        reached |= {"pipelines.parameters"}
    relevant = {module for module in reached if not re.match(IRRELEVANT[kind], module)}
    code = [d.def_path for d in stages[name].deps if d.def_path.startswith("src/")]
    places = {module: file_of(module).relative_to(PROJECT).as_posix() for module in relevant}
    assert {m for m, place in places.items() if not any(is_below(place, c) for c in code)} == set()
    python = [c for c in code if c.endswith(".py") or any((PROJECT / c).glob("*.py"))]
    assert {c for c in python if not any(is_below(place, c) for place in places.values())} == set()


def part_of(stage, pipelines: dict[str, Pipeline]) -> Pipeline:
    """What a stage runs of a pipeline."""
    name, nodes = re.search(r"--pipelines=(\w+)(?: --nodes=(\S+))?$", stage.cmd).groups()
    return pipelines[name].only_nodes(*nodes.split(",")) if nodes else pipelines[name]


def place_of(catalog, name: str) -> str:
    return Path(catalog.get(name)._filepath).relative_to(PROJECT).as_posix()


def data_of(edges) -> set[str]:
    return {edge.def_path for edge in edges if edge.def_path.startswith("data/")}


def places_of(parameter: str, recipe: str) -> set[tuple[str, str]]:
    """(file, key) of all that feeds a parameter of a node in conf/base; `student` is made of several."""
    root, _, rest = parameter.partition(".")
    if root == "students":
        root, rest, recipe = "student", "", rest
    roots = {"student": {"student", "network", "recipes"}, "teacher": {"teacher", "network"}}.get(root, {root})
    found = set()
    for file in (CONF / "parameters").rglob("*.yml"):
        for key, value in yaml.safe_load(file.read_text()).items():
            if key not in roots:
                continue
            if isinstance(value, str) and (indirect := re.search(r"\$\{globals:(\w+)", value)):
                found.add(("conf/base/globals.yml", indirect[1]))
            elif key == "recipes":
                found |= {(relative(file), f"recipes.{recipe}")} if recipe in value else set()
            elif not rest:
                found.add((relative(file), key))
            elif rest in value:
                found.add((relative(file), parameter))
    return found


def relative(file: Path) -> str:
    return file.relative_to(PROJECT).as_posix()


def name_of(module: str) -> str:
    return module.removeprefix("fewstep.")


def file_of(module: str) -> Path:
    path = PROJECT / "src" / "fewstep" / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def is_below(place: str, folder: str) -> bool:
    return place == folder or place.startswith(f"{folder}/")
