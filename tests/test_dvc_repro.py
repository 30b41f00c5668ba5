"""`dvc repro`, on a small copy of the project with a repository of its own: minutes."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fewstep.config.merging import merged
from fewstep.pipeline_registry import recipe_names

PROJECT = Path(__file__).parents[1]
COPIED = (
    "conf/**/*.yml",
    "src/**/*.py",
    "src/fewstep/evaluation/**/*.*",
    "src/fewstep/reporting/*.csv",
    "data/*/digits/.gitignore",
    ".dvc/.gitignore",
    ".dvc/config",
    "dvc.yaml",
    "comparison/dvc.yaml",
    ".dvcignore",
    ".gitignore",
    ".telemetry",
    "pyproject.toml",
)
SMALL = {
    "network": {"network": {"channels": 16, "channel_mult": [1], "num_blocks": 1}},
    "teacher": {"teacher": {"training": {"images": 1280}}},
    "recipes/cd": {"recipes": {"cd": {"training": {"images": 1280}}}},
    "evaluation": {"evaluation": {"count": 50, "student_nfe": [1, 2], "teacher_nfe": {"heun": [3], "euler": [1]}}},
    "run": {"launch": {"workers": 0, "threads": 1}},
    "comparison": {
        "comparison": {
            "budget": {"unit": "images", "amount": 160},
            "seeds": [0, 1],
            "count": 24,
            "search_count": 24,
            "teacher_nfe": {"heun": [3]},
        }
    },
}
RECORD = Path("data/08_reporting/digits/cd/registration.json")
IDENTITY = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}


JOURNEY = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"].values()
LOOP, CD = "src/fewstep/training/loop.py", "src/fewstep/objectives/consistency_distillation.py"
EDITS = [(LOOP, '"""', '"""Reworded. '), (CD, 'check_name("solver"', 'check_name("solver of a teacher"')]
RAISED = [  # (file, its integer, the stages that it makes dirty)
    (CD, "numerics", {"distill"}),
    ("src/fewstep/training/__init__.py", "NUMERICS", {"teacher", "distill"}),
    ("src/fewstep/samplers/__init__.py", "NUMERICS", {"evaluate"}),
    ("src/fewstep/evaluation/__init__.py", "NUMERICS", {"ingest", "evaluate"}),
]


class Project:
    """A folder in which commands run with this Python's programs and the folder's own code."""

    def __init__(self, folder: Path):
        self.folder = folder

    def __call__(self, command: str) -> str:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        code = {"PYTHONPATH": str(self.folder / "src"), "PATH": path, "DVC_NO_ANALYTICS": "1"}
        done = subprocess.run(
            command.split(), cwd=self.folder, env={**os.environ, **IDENTITY, **code}, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def change(self, file: str, changes: dict) -> None:
        path = self.folder / "conf" / "base" / "parameters" / f"{file}.yml"
        path.write_text(yaml.safe_dump(merged(yaml.safe_load(path.read_text()), changes)))

    def edit(self, file: str, text: str, edited: str) -> None:
        """Replace the first occurrence of a text."""
        path = self.folder / file
        assert text in path.read_text()
        path.write_text(path.read_text().replace(text, edited, 1))

    def repro(self, *what: str) -> list[str]:
        """The stages that ran."""
        said = self(" ".join(["dvc repro", *what]))
        return [line.split("'")[1] for line in said.splitlines() if line.startswith("Running stage")]

    def record(self) -> dict:
        return json.loads((self.folder / RECORD).read_text())


def copy_file(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


@pytest.fixture
def project(tmp_path):
    """Small, and committed."""
    project = Project(tmp_path / "project")
    for pattern in COPIED:
        for path in PROJECT.glob(pattern):
            copy_file(path, project.folder / path.relative_to(PROJECT))
    for file, changes in SMALL.items():
        project.change(file, changes)
    project("git init -q")
    project("git add .")
    project("git commit -qm small")
    return project


@pytest.fixture
def recorded(project):
    """The project, whose dvc.lock says that the journey has been run: a word stands for whatever a stage makes."""
    for name in [out for stage in JOURNEY for kind in ("outs", "metrics", "plots") for out in stage.get(kind, ())]:
        place = project.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(name) if place.suffix else place.mkdir() or (place / "made").write_text(name)
    project("dvc commit --quiet --force dvc.yaml")
    return project


@pytest.mark.slow
def test_edited_words_leave_the_stages_clean_and_a_raised_version_does_not(recorded):
    for file, text, edited in EDITS:
        recorded.edit(file, text, edited)
    assert recorded("dvc status dvc.yaml").startswith("Data and pipelines are up to date")
    for file, name, stages in RAISED:
        recorded.edit(file, f"{name} = 1", f"{name} = 2")
        said = recorded("dvc status dvc.yaml")
        assert {line.strip(":") for line in said.splitlines() if line[0] != "\t"} == stages and file in said
        recorded.edit(file, f"{name} = 2", f"{name} = 1")


@pytest.mark.check
def test_the_journey_by_dvc_and_its_way_to_a_clone(project, tmp_path):
    assert project.repro() == ["ingest", "teacher", "distill", "evaluate", "register"]
    left = {line[3:] for line in project("git status --short --untracked-files=all").splitlines()}
    assert left == {"dvc.lock"}
    assert "fid_digits" in project("dvc metrics show")
    assert "sheet.png" in project("dvc plots show --json")
    first = project.record()
    assert (first["version"], first["aliases"]) == (1, ["challenger", "champion"])
    assert first["lineage"]["git_dirty"] == "false"
    assert project.repro() == []

    project.change("recipes/cd", {"recipes": {"cd": {"training": {"learning_rate": 2e-3}}}})
    assert project.repro() == ["distill", "evaluate", "register"]
    assert project.record()["version"] == 2
    project.change("run", {"fresh": True})
    assert project.repro() == []
    project("git add .")
    project("git commit -qm faster")

    project(f"dvc remote add --quiet --default away {tmp_path / 'remote'}")
    project("git commit -qam remote")
    project("dvc push --quiet dvc.yaml")
    project(f"git clone -q . {tmp_path / 'clone'}")
    clone = Project(tmp_path / "clone")
    clone("dvc pull --quiet dvc.yaml")
    assert clone("dvc status dvc.yaml").startswith("Data and pipelines are up to date")
    said = clone("fewstep registry sync --env=base")
    assert said.splitlines() == [
        "fewstep-digits-teacher version 1: no alias",
        "fewstep-digits version 2: challenger",
        f"not here, or of other weights: {RECORD.with_name('report.html')}",
        "fewstep-digits has no champion: the one that was is not among these records. fewstep registry promote",
        "Or, at a commit that has it (git log dvc.lock): dvc pull dvc.yaml && fewstep registry sync",
    ]
    assert clone("fewstep registry sync --env=base") == said


STAGED = ("ayf", "cmt_ect", "tcm")  # recipes that have an earlier one


@pytest.mark.check
def test_the_comparison_by_dvc(project):
    assert project.repro("ingest", "teacher") == ["ingest", "teacher"]
    contests = [f"contest_{recipe}" if recipe in STAGED else f"contest@{recipe}" for recipe in recipe_names()]
    assert sorted(project.repro("comparison/dvc.yaml")) == sorted(stage("leaderboard", "reference", *contests))
    assert project.repro("comparison/dvc.yaml") == []
    project.change("recipes/ect", {"recipes": {"ect": {"training": {"learning_rate": 2e-3}}}})
    assert sorted(project.repro("comparison/dvc.yaml")) == stage("contest@ect", "contest_tcm", "leaderboard")


def stage(*names: str) -> list[str]:
    return [f"comparison/dvc.yaml:{name}" for name in names]
