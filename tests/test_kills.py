"""kill -9 from outside, at random moments: the same command again ends in the bits of a run that nobody disturbed."""

import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from fewstep.tracking.follow import Progress
from fewstep.training.checkpoint import checkpoints

SLOW_DISK = Path(__file__).parent / "slow_disk"
CONF = Path(__file__).parents[1] / "conf"
PACKAGE = Path(__file__).parents[1] / "src" / "fewstep"
RECIPES = sorted(p.stem for p in (CONF / "base" / "parameters" / "recipes").glob("*.yml"))
SIZES = {"teacher": 6400, "student": 3200}
COMMAND = (
    "kedro",
    "run",
    "--env=test",
    "--params=launch.threads=1,"
    + ",".join(f"{name}.training.images={n},{name}.training.checkpoint_every=320" for name, n in SIZES.items()),
)

pytestmark = pytest.mark.check


class Journey:
    """A run of the command, to be killed."""

    def __init__(self, project, command=COMMAND, dataset: str = "test", **environment):
        self.project, self.dataset, self.started = project, dataset, time.monotonic()
        self.process = project.start(*command, **environment)

    def run_dir(self, recipe: str) -> Path | None:
        """The folder of the training that is not finished."""
        folders = self.project.glob(f"runs/{self.dataset}/{recipe}-*")
        return next((p for p in folders if not (p / "model").exists()), None)

    def wait(self, what, seconds: float = 240):
        """The first true value of what()."""
        until = time.monotonic() + seconds
        while not (value := what()):
            assert self.process.poll() is None, f"the run ended before: {self.process.communicate()[0]}"
            assert time.monotonic() < until, "waited in vain"
            time.sleep(0.005)
        return value

    def wait_for_images(self, recipe: str, images: int):
        """Until a training has seen so many."""

        def seen() -> bool:
            folder = self.run_dir(recipe)
            entries = Progress(folder).read()[0] if folder and worker_of(folder) else []
            return bool(entries) and entries[-1]["images"] >= images

        self.wait(seen)

    def kill_worker(self, recipe: str):
        """SIGKILL of the worker that trains."""
        pid = worker_of(self.run_dir(recipe))
        assert pid not in (None, self.process.pid)
        os.kill(pid, signal.SIGKILL)
        return pid

    def kill(self):
        """SIGKILL of the command."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.communicate()

    def end(self) -> str:
        """What was printed until the run ended well."""
        output = self.process.communicate(timeout=600)[0]
        assert self.process.returncode == 0, output
        return output


def worker_of(folder: Path) -> int | None:
    """The process that trains in a run folder, if it lives."""
    holder = folder / "lock.holder"
    try:
        pid = int(re.match(r"process (\d+)", holder.read_text())[1])
        os.kill(pid, 0)
        return pid
    except (OSError, TypeError):
        return None


@pytest.fixture
def journey():
    """Starts a run that does not outlive the test."""
    begun: list[Journey] = []

    def begin(*args, **kwargs) -> Journey:
        begun.append(Journey(*args, **kwargs))
        return begun[-1]

    yield begin
    for each in begun:
        each.kill()


def hashes(project) -> dict[str, str]:
    return {
        name: json.loads((project.root / "data/06_models/test" / name / "model.json").read_text())["sha256"]
        for name in ("teacher", "cd")
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory, make_project):
    """The hashes of the models of a run that nobody disturbed."""
    project = make_project(tmp_path_factory.mktemp("undisturbed") / "project")
    started = time.monotonic()
    Journey(project).end()
    print(f"undisturbed: {time.monotonic() - started:.0f} s")
    return hashes(project)


def test_killed_at_random_moments(project, undisturbed, journey):
    seed = random.SystemRandom().randrange(10**6)
    moments = random.Random(seed)
    print(f"seed {seed}")

    def somewhere(name: str, low: float, high: float) -> int:
        images = int(moments.uniform(low, high) * SIZES[name])
        print(f"{name}: kill at {images} images")
        return images

    run = journey(project)
    run.wait_for_images("teacher", somewhere("teacher", 0.1, 0.3))
    run.kill_worker("teacher")
    run.wait_for_images("teacher", somewhere("teacher", 0.5, 0.8))
    run.kill()

    run = journey(project)
    run.wait_for_images("cd", somewhere("student", 0.1, 0.4))
    run.kill()

    run = journey(project)
    run.wait_for_images("cd", somewhere("student", 0.5, 0.9))
    run.kill_worker("cd")
    output = run.end()
    assert hashes(project) == undisturbed
    assert "teacher: this training is finished" in output and "version 1: challenger, champion" in output


def test_killed_while_a_checkpoint_is_written(project, undisturbed, journey, tmp_path):
    switch = tmp_path / "slow"
    environment = {
        "PYTHONPATH": f"{SLOW_DISK}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
        "SLOW_DISK": str(switch),
    }

    def unfinished() -> list[Path]:
        return project.glob("runs/test/teacher-*/checkpoints/.step_*")

    for victim in ("worker", "command"):
        run = journey(project, **environment)
        run.wait_for_images("teacher", 640)
        switch.touch()
        run.wait(unfinished)
        killed = run.kill_worker("teacher") if victim == "worker" else run.kill()
        switch.unlink()
        print(f"{victim} {killed or run.process.pid} killed while it wrote {[p.name for p in unfinished()]}")
        if victim == "worker":
            run.wait(lambda: not unfinished())
            run.kill()
    journey(project, **environment).end()
    assert hashes(project) == undisturbed
    assert not unfinished()


def test_killed_and_taken_up_by_edited_code(project, undisturbed, journey, tmp_path):
    """A docstring and a message are other words in the code that goes on, as after an update."""
    code = shutil.copytree(PACKAGE, tmp_path / "code" / "fewstep", ignore=shutil.ignore_patterns("__pycache__"))
    environment = {"PYTHONPATH": str(code.parent)}
    run = journey(project, **environment)
    run.wait_for_images("teacher", SIZES["teacher"] // 2)
    run.kill()
    (begun,) = project.glob("runs/test/teacher-*")
    seen = len(begun.joinpath("progress.jsonl").read_text().splitlines())

    edit(code / "training" / "loop.py", '"""', '"""Reworded. ')
    edit(code / "objectives" / "consistency_distillation.py", 'check_name("solver"', 'check_name("solver of a teacher"')
    asked = "import fewstep.training.loop as loop; print(loop.__doc__)"
    assert project.run("python", "-c", asked, **environment)[1].startswith("Reworded. ")
    journey(project, **environment).end()
    assert project.glob("runs/test/teacher-*") == [begun]
    later = [json.loads(line)["images"] for line in begun.joinpath("progress.jsonl").read_text().splitlines()[seen:]]
    assert min(later) > SIZES["teacher"] // 4, "the training began anew"
    assert hashes(project) == undisturbed


def edit(file: Path, text: str, edited: str) -> None:
    """Replace the first occurrence of a text."""
    source = file.read_text()
    assert text in source
    file.write_text(source.replace(text, edited, 1))


def test_a_second_run_does_not_train_beside_the_first(project, journey):
    endless = ("kedro", "run", "--env=test", "--params=launch.threads=1,teacher.training.images=1000000")
    run = journey(project, endless)
    run.wait_for_images("teacher", 64)
    pid = worker_of(run.run_dir("teacher"))
    code, output = project.run(*endless)
    run.kill()
    assert code != 0 and re.search(
        rf"Error: process {run.process.pid} on .* is making data/.*: wait until it ends", output
    )
    until = time.monotonic() + 30
    while Path(f"/proc/{pid}/stat").exists() and " Z " not in Path(f"/proc/{pid}/stat").read_text():
        assert time.monotonic() < until, "the worker outlived its driver"
        time.sleep(0.1)


@pytest.fixture(scope="module")
def taught(tmp_path_factory, make_project):
    """A project with images and a teacher."""
    project = make_project(tmp_path_factory.mktemp("taught") / "project")
    words = "launch.workers=0,launch.threads=1,teacher.training.images=640"
    assert project.run("kedro", "run", "--env=test", "--pipelines=ingest,teacher", f"--params={words}")[0] == 0
    return project


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_run_of_any_recipe_ends_in_the_same_bits(recipe, taught, journey):
    """Weights, average, target, optimiser, and a teacher that changes: the last checkpoint, byte by byte."""
    command = ("kedro", "run", "--env=test", "--pipelines=distill")
    ends_in_the_same_bits(recipe, taught, journey, command, "test", size=1600, every=96)


@pytest.mark.parametrize("recipe", ["ctm", "ctm_gan"])
def test_500_steps_of_ctm_on_digits_end_in_the_same_bits(recipe, project, journey):
    """As shipped: the adversarial loss is switched on half-way."""
    words = "launch.workers=0,launch.threads=1,teacher.training.images=640"
    assert project.run("kedro", "run", "--pipelines=ingest,teacher", f"--params={words}")[0] == 0
    command = ("kedro", "run", "--pipelines=distill")
    ends_in_the_same_bits(recipe, project, journey, command, "digits", size=500 * 32, every=640)


def ends_in_the_same_bits(recipe: str, project, journey, command: tuple, dataset: str, size: int, every: int):
    """A training of `size` images in batches of 32, killed five times, and one that nobody disturbed."""
    words = f"recipe={recipe},launch.workers=0,launch.threads=1,student.training.images={size}"
    command += (f"--params={words},student.training.checkpoint_every={every},student.training.progress_every=64",)
    journey(project, command, dataset).end()
    (whole,) = project.glob(f"runs/{dataset}/{recipe}-*")
    whole.rename(whole.with_name(f"undisturbed-{recipe}"))
    moments = sorted(random.SystemRandom().sample(range(size // 10, size * 9 // 10), 5))
    print(f"{recipe}: killed at {moments} images")
    for images in moments:
        run = journey(project, command, dataset)
        run.wait_for_images(recipe, images)
        run.kill()
    journey(project, command, dataset).end()
    (killed,) = project.glob(f"runs/{dataset}/{recipe}-*")
    ends = [checkpoints(folder / "checkpoints")[-1] for folder in (whole.with_name(f"undisturbed-{recipe}"), killed)]
    assert ends[0].name == ends[1].name == f"step_{size // 32:09d}"
    assert (
        ends[0].joinpath("checkpoint.safetensors").read_bytes()
        == ends[1].joinpath("checkpoint.safetensors").read_bytes()
    )


@pytest.fixture
def fresh(make_project, tmp_path):
    """A function that makes another new project."""
    made = count()
    return lambda: make_project(tmp_path / f"fresh{next(made)}")


@pytest.mark.parametrize("part", ["the first minute", "the rest"])
def test_kills_break_nothing_for_good(part, fresh, undisturbed, journey, request):
    """In the first minute data are ingested, MLflow's database is made, Ray starts and the teacher begins.

    The same command is killed a few times in each of several new projects, and then left alone. `--kills=100` kills so
    often in first minutes, and half as often over the rest.
    """
    kills, each = request.config.getoption("kills"), 10 if part == "the first minute" else 5
    earliest, latest = (1, 60) if part == "the first minute" else (30, 240)
    left = kills if part == "the first minute" else kills // 2
    while left:
        project, moments = fresh(), [random.SystemRandom().uniform(earliest, latest) for _ in range(min(each, left))]
        left -= len(moments)
        print("killed after", ", ".join(f"{seconds:.1f} s" for seconds in moments))
        for seconds in moments:
            run = journey(project)
            with suppress(subprocess.TimeoutExpired):
                run.process.wait(seconds)
            run.kill()
        journey(project).end()
        assert hashes(project) == undisturbed
        code, said = project.run("fewstep", "verify", "--env=test", "--recipe=cd")
        assert code == 0 and "models:/fewstep-test/1: as it was written" in said, said
        shutil.rmtree(project.root)
