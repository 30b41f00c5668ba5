"""What tests share: real digits in a store, networks drawn at random, a project of one's own, Ray, a full disk."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
import torch


def pytest_configure(config):
    torch.set_num_threads(1)  # on busy cores two are slower


@pytest.fixture
def randomised():
    """A function that draws every parameter of a module at random, zero-initialised ones too."""

    def draw(module, seed=0, std=0.02):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
        return module

    return draw


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits' array store."""
    from onestep.data import ingest

    return ingest({"name": "digits"}, tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture
def takes():
    """A function that parses words as a command of click's would, and runs nothing. Files need not be there."""

    def parse(command: click.Command, words: list[str]) -> None:
        while isinstance(command, click.Group):
            found = command.get_command(click.Context(command), words[0])
            assert found, f"there is no command {words[0]}"
            command, words = found, words[1:]
        if "..." in words:  # in place of what is asked for
            command.make_parser(click.Context(command)).parse_args([word for word in words if word != "..."])
            return
        try:
            command.make_context(command.name, words)
        except click.BadParameter as problem:
            if not problem.message.endswith("does not exist."):
                raise

    return parse


class Project:
    """A copy of the project's configuration in an empty folder, where commands run as a user types them."""

    ORIGIN = Path(__file__).parents[1]
    BIN = Path(sys.executable).parent

    def __init__(self, root: Path):
        self.root = root
        (root / "src").mkdir(parents=True)
        shutil.copytree(self.ORIGIN / "conf", root / "conf", ignore=shutil.ignore_patterns("local"))
        (root / "conf" / "local").mkdir()  # empty, as in a fresh clone
        for name in ("pyproject.toml", ".telemetry"):
            shutil.copy(self.ORIGIN / name, root / name)

    def start(self, *words: str, wrapper: tuple = (), **environment: str) -> subprocess.Popen:
        """A command of the project, on one thread; stdout and stderr are one text."""
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
        return subprocess.Popen(
            [*wrapper, self.BIN / words[0], *words[1:]],
            cwd=self.root,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def run(self, *words: str, **kwargs) -> tuple[int, str]:
        """The exit code of a command and what it printed."""
        process = self.start(*words, **kwargs)
        try:
            output = process.communicate(timeout=900)[0]
        finally:
            process.kill()
        return process.returncode, output

    def glob(self, pattern: str) -> list[Path]:
        """Files of the project."""
        return sorted(self.root.glob(pattern))


@pytest.fixture(scope="session")
def make_project():
    """A function that copies the project to a folder."""
    return Project


@pytest.fixture
def project(tmp_path):
    """A project of one's own."""
    return Project(tmp_path / "project")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The folder of a project of one's own, and where one is."""
    monkeypatch.chdir(Project(tmp_path).root)
    return tmp_path


@pytest.fixture(scope="session")
def ray_here():
    """Ray on this machine, started once."""
    from onestep.launch import connect

    connect()
    yield
    import ray

    ray.shutdown()


def committed(place: str) -> dict:
    """A report of digits as git has it: a run of the project writes its own over the file."""
    place = f"data/08_reporting/digits/{place}"
    shown = subprocess.run(["git", "show", f":{place}"], cwd=Project.ORIGIN, capture_output=True, text=True)
    return json.loads(shown.stdout if shown.returncode == 0 else (Project.ORIGIN / place).read_text())


@pytest.fixture
def small_disk(tmp_path):
    """A function that mounts a disk of so many bytes, where the system lets us."""
    mounted = []

    def mount(size: int) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("a small disk can be mounted only by root")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)
@pytest.fixture(scope="session")
def committed_metrics():
    """The scores of the main job."""
    return committed("cd/metrics.json")


@pytest.fixture(scope="session")
def committed_leaderboard():
    """The comparison of every recipe."""
    return committed("comparison/leaderboard.json")


