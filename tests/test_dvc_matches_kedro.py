"""dvc.yaml and comparison/dvc.yaml are what pipelines, catalog, parameters and numerics versions give."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from kedro.framework.project import pipelines

from fewstep.pipeline_registry import recipe_names
from fewstep.pipelines.dvc_stages import CONF, dvc_files
from fewstep.pipelines.journey import STAGES

sys.path.insert(0, str(Path(__file__).parent / "goldens"))

from numbers_of_parts import OTHERS, place_of

PROJECT = Path(__file__).parents[1]
STAGED = ("ayf", "cmt_ect", "tcm")  # recipes that have an earlier one
CONTESTS = [f"contest_{recipe}" if recipe in STAGED else f"contest@{recipe}" for recipe in recipe_names()]
COMPARED = [*CONTESTS, "reference", "leaderboard"]
SCORING = set(OTHERS) - {"losses", "training"}
OF_OBJECTIVE = {
    "teacher": "denoising",
    "distill": "consistency_distillation",
    "contest@cd": "consistency_distillation",
    "contest@ctm_gan": "consistency_trajectory",
    "contest@sct": "continuous_consistency",
}
BUDGET = ("src/fewstep/budget.py", "NUMERICS")


@pytest.fixture(scope="module")
def stages():
    """{name: its stage} of both files, as DVC reads them."""
    from dvc.repo import Repo

    with Repo(str(PROJECT)) as repo:
        return {stage.name: stage for stage in repo.index.stages}


@pytest.fixture(scope="module")
def derived():
    """{file: what it should hold}."""
    return dvc_files(PROJECT)


@pytest.mark.parametrize("name", ["dvc.yaml", "comparison/dvc.yaml"])
def test_a_file_is_what_make_dvc_writes(name, derived):
    assert (PROJECT / name).read_text() == derived[name], f"{name} is not up to date. Write it: make dvc"


def test_a_stage_for_each_pipeline_and_each_contest(stages):
    assert set(stages) == {*STAGES, *COMPARED}


def test_every_command_runs_what_its_stage_is_named_after(stages, derived):
    """Each node of the comparison is in one stage."""
    asked = {
        name: re.fullmatch(r"kedro run --env=base --pipelines=(.*)", stage.cmd)[1] for name, stage in stages.items()
    }
    assert {name: asked[name] for name in STAGES} == {name: name for name in STAGES}
    nodes = [node for name in COMPARED for node in asked[name].removeprefix("compare --nodes=").split(",")]
    assert sorted(nodes) == sorted(node.name for node in pipelines["compare"].nodes)
    assert asked["contest@ect"] == "compare --nodes=train_ect,score_ect"


def test_no_stage_depends_on_a_source_file(stages):
    assert [d.def_path for stage in stages.values() for d in stage.deps if not read_of(d) and is_code(d)] == []


def test_the_comparison_needs_what_the_journey_makes(stages):
    made = {out.def_path for name in STAGES for out in stages[name].outs}
    assert {"data/02_intermediate/digits/images", "data/06_models/digits/teacher"} <= made
    contest = {d.def_path for d in stages["contest@pd"].deps if d.def_path.startswith("data/")}
    assert contest == {"data/03_primary/digits/extractor", *(p for p in made if p.endswith(("/images", "/teacher")))}
    ranked = {d.def_path for d in stages["leaderboard"].deps}
    assert {out.def_path for name in COMPARED[:-1] for out in stages[name].outs} <= ranked


@pytest.mark.parametrize("name", [*STAGES, *COMPARED])
def test_all_that_is_kept_is_cached(stages, name):
    """What a run makes is below data/, and none of it is git's."""
    assert stages[name].outs and all(out.use_cache and out.def_path.startswith("data/") for out in stages[name].outs)
    metrics = {out.def_path.rsplit("/", 1)[1] for out in stages[name].outs if out.metric}
    assert metrics == {"evaluate": {"metrics.json"}, "leaderboard": {"leaderboard.json"}}.get(name, set())


def test_git_sees_nothing_of_what_stages_make(stages):
    """So `git status` is clean after a run. DVC names folders in a .gitignore beside them, which is committed."""
    outs = [out.def_path for stage in stages.values() for out in stage.outs]
    ignored = subprocess.run(["git", "check-ignore", *outs], cwd=PROJECT, capture_output=True, text=True)
    if ignored.returncode == 128:
        pytest.skip("this is no repository of git")
    assert set(outs) - set(ignored.stdout.splitlines()) == set()
    folders = [PROJECT / out for out in outs if not Path(out).suffix]
    named = [f"/{folder.name}" in (folder.parent / ".gitignore").read_text().splitlines() for folder in folders]
    assert len(named) > 4 and all(named)


@pytest.mark.parametrize("name", [*STAGES, *COMPARED])
def test_every_parameter_is_found_by_dvc(stages, name):
    """In YAML and in Python files; a key that is not there would fail in `dvc repro`."""
    for dep in stages[name].deps:
        assert set(dep.read_params()) == set(read_of(dep)) if read_of(dep) else True, dep.def_path


@pytest.mark.parametrize(
    "name, sections",
    {
        "ingest": ["globals.yml: dataset", "data.yml: data", "evaluation.yml: evaluation.features"],
        "teacher": ["network.yml: network", "teacher.yml: teacher"],
        "distill": ["network.yml: network", "cd.yml: recipes.cd"],
        "evaluate": ["evaluation.yml: evaluation"],
        "register": [],
        "contest@ect": ["comparison.yml: comparison", "network.yml: network", "ect.yml: recipes.ect"],
        "contest_tcm": [
            "comparison.yml: comparison",
            "network.yml: network",
            "ect.yml: recipes.ect",
            "tcm.yml: recipes.tcm",
        ],
        "contest_ayf": [
            "comparison.yml: comparison",
            "network.yml: network",
            "ayf.yml: recipes.ayf",
            "teacher.yml: teacher",
        ],
        "reference": ["comparison.yml: comparison"],
        "leaderboard": [],
    }.items(),
)
def test_parameters_are_those_that_the_nodes_read(stages, name, sections):
    """How a training is run (launch, fresh) is no parameter of a stage: its result is the same."""
    read = [(Path(file).name, key) for file, key in tracked(stages[name]) if file.startswith(CONF)]
    assert sorted(": ".join(each) for each in read) == sorted(sections)


@pytest.mark.parametrize("name", OF_OBJECTIVE)
def test_a_training_has_the_versions_of_all_that_it_runs(stages, name):
    parts = set(OTHERS) if "@" in name else set(OTHERS) - {"samplers", "evaluation"}
    expected = {place(part) for part in (*parts, OF_OBJECTIVE[name])} | ({BUDGET} if "@" in name else set())
    assert counted(stages[name]) == expected


def test_scores_have_the_versions_of_sampling_and_ingest_those_of_the_data(stages):
    scoring = set(map(place, SCORING))
    assert counted(stages["evaluate"]) == counted(stages["reference"]) == scoring
    assert counted(stages["leaderboard"]) == scoring - {place("evaluation")}
    assert counted(stages["ingest"]) == set(map(place, ("data", "randomness", "evaluation")))
    assert counted(stages["register"]) == set()


def read_of(dep) -> list[str]:
    """The keys of a file of parameters; none of a dependency on content."""
    return list(getattr(dep, "params", ()))


def is_code(dep) -> bool:
    return dep.def_path.split("/")[0] in ("src", "..", "tests")


def tracked(stage) -> set[tuple[str, str]]:
    """(file, key) of each parameter of a stage."""
    return {(dep.def_path, key) for dep in stage.deps for key in read_of(dep)}


def counted(stage) -> set[tuple[str, str]]:
    """(file, name) of the numerics versions that a stage depends on."""
    return {(file, key) for file, key in tracked(stage) if file.startswith("src/")}


def place(part: str) -> tuple[str, str]:
    """The file and the name of a part's numerics version."""
    return tuple(place_of(part).split(": "))
