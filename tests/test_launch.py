"""Training through Ray: any number of workers gives one result, deaths are survived, errors arrive once, in words."""

import json
import os
import re
import signal
import tempfile
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from fewstep.launch import (
    STARTS,
    LaunchSettings,
    _started,
    check_shared,
    launch,
    share_threads,
)
from fewstep.models.model import SavedModel
from fewstep.support.device import set_float32_precision
from fewstep.support.errors import FAMILY, InvalidInput, Unreachable
from fewstep.tracking.follow import Progress
from fewstep.training.checkpoint import checkpoints, load_newest
from fewstep.training.job import Job
from fewstep.training.loop import Divergence, Training, train

CONF = Path(__file__).parents[1] / "conf"
RECIPES = sorted(p.stem for p in (CONF / "base" / "parameters" / "recipes").glob("*.yml"))
STEPS, BATCH = 5, 8
SHORT = {"images": STEPS * BATCH, "batch_size": BATCH, "progress_every": BATCH, "checkpoint_every": BATCH}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    from fewstep.data import ingest

    return ingest({"name": "patches", "count": 64, "side": 16}, tmp_path_factory.mktemp("data") / "patches")


@pytest.fixture(scope="module")
def job_of(typed_parameters, patches, job_after):
    """A short training of the test overlay. RAdam's first steps are plain descent, so that rounding stays rounding."""

    def make(name: str, teacher: SavedModel | None = None, dropout: float = 0.0) -> Job:
        given = typed_parameters("test", recipe=name if name != "teacher" else RECIPES[0])
        recipe = given.teacher if name == "teacher" else given.student
        training = replace(recipe.training, **SHORT, optimizer="radam")
        network = recipe.network | {"dropout": dropout}
        return job_after(replace(recipe, network=network, training=training), patches, teacher)

    return make


def changed(job: Job, **training) -> Job:
    """The job with other settings of its training."""
    recipe = replace(job.recipe, training=replace(job.recipe.training, **training))
    return replace(job, recipe=recipe)


@pytest.fixture(scope="module")
def teacher(job_of, tmp_path_factory):
    return SavedModel.open(train(job_of("teacher"), tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def student(job_of, teacher):
    """A job with dropout."""
    return job_of("cd", teacher, dropout=0.1)


def end_of(run_dir: Path) -> dict[str, torch.Tensor]:
    return load_newest(run_dir / "checkpoints")[0]


def same_bits(one: Path, other: Path) -> bool:
    first, second = end_of(one), end_of(other)
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def listening(to: set[tuple[int, str, int]], stop: threading.Event) -> None:
    """(process, address, port) of all that Ray or a process of ours listens at, until it is told to stop."""
    while not stop.wait(0.2):
        for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
            with suppress(psutil.Error):
                for socket in process.net_connections():
                    if socket.status == psutil.CONN_LISTEN:
                        to.add((process.pid, *socket.laddr))


@pytest.fixture(scope="module")
def launched(student, tmp_path_factory, ray_here):
    """The student trained without Ray, by one worker and by two: folders "0", "1" and "2"; what listened beside two."""
    folder, heard, stop = tmp_path_factory.mktemp("launched"), set(), threading.Event()
    watch = threading.Thread(target=listening, args=(heard, stop))
    for workers in (0, 1, 2):
        if workers == 2:
            watch.start()
        launch(student, folder / str(workers), LaunchSettings(workers, threads=1, gpu=False))
    stop.set()
    watch.join()
    return folder, heard


def check_same_steps(job: Job, folder: Path):
    """Two workers have made the steps of one, up to rounding."""
    started = Training(job, folder / "untrained").state()
    one, two = (Progress(folder / n).read()[0] for n in "12")
    assert len(one) == STEPS
    for a, b in zip(one, two, strict=True):
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4), a["step"]
        assert b["grad_norm"] == pytest.approx(a["grad_norm"], rel=1e-3), a["step"]
    ones, twos = end_of(folder / "1"), end_of(folder / "2")
    weights = [k for k in ones if not k.startswith("optimizer.")]
    moved = torch.stack([(ones[k] - started[k]).norm() for k in weights if k in started]).norm()  # pd: a teacher later
    apart = torch.stack([(ones[k] - twos[k]).norm() for k in weights]).norm()
    assert moved > 0 and apart < 1e-3 * moved


def test_two_workers_make_the_steps_of_one(student, launched):
    check_same_steps(student, launched[0])


@pytest.mark.check
@pytest.mark.parametrize("name", ["teacher", *RECIPES])
def test_two_workers_make_the_steps_of_one_with_every_recipe(name, job_of, teacher, tmp_path, ray_here):
    job = job_of(name, None if name == "teacher" else teacher)
    for workers in (1, 2):
        launch(job, tmp_path / str(workers), LaunchSettings(workers, threads=1, gpu=False))
    check_same_steps(job, tmp_path)


@pytest.mark.check
def test_two_workers_that_share_the_weights_make_the_steps_of_one(student, launched, tmp_path, ray_here):
    (tmp_path / "1").symlink_to(launched[0] / "1")
    launch(student, tmp_path / "2", LaunchSettings(2, threads=1, gpu=False, shard="full"))
    check_same_steps(student, tmp_path)


def test_with_and_without_ray_the_bits_are_the_same(launched):
    folder, _ = launched
    assert same_bits(folder / "0", folder / "1")
    assert not list((folder / "1").glob("launch-*"))


def test_nothing_listens_beyond_loopback(launched):
    """Neither Ray nor the sockets of two workers."""
    _, heard = launched
    beyond = {each for each in heard if not each[1].startswith(("127.", "::1", "::ffff:127."))}
    assert len(heard) > 5 and not beyond, beyond


def kill_worker_at(run_dir: Path, step: int, killed: list[int]):
    """SIGKILL of the process that leads the training, once it has made so many steps."""
    while not (checkpoints(run_dir / "checkpoints") and Progress(run_dir).read()[0][-1]["step"] >= step):
        time.sleep(0.01)
    killed.append(int(re.match(r"process (\d+)", (run_dir / "lock.holder").read_text())[1]))
    os.kill(killed[0], signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.check)])
def test_a_killed_worker_is_started_again_and_ends_in_the_same_bits(workers, student, tmp_path, ray_here):
    job = changed(student, images=60 * BATCH, checkpoint_every=7 * BATCH)
    settings = LaunchSettings(workers, threads=1, gpu=False)
    launch(job, tmp_path / "whole", settings if workers > 1 else replace(settings, workers=0))
    killed: list[int] = []
    killer = threading.Thread(target=kill_worker_at, args=(tmp_path / "killed", 20, killed), daemon=True)
    killer.start()
    launch(job, tmp_path / "killed", settings)
    assert killed and killed[0] != os.getpid()
    steps = [json.loads(line)["step"] for line in (tmp_path / "killed" / "progress.jsonl").read_text().splitlines()]
    assert len(steps) > len(set(steps)) == 60, "no step was made twice: the worker was not killed in mid-training"
    assert same_bits(tmp_path / "whole", tmp_path / "killed")


def words_of(kind, job: Job, run_dir: Path, workers: int) -> str:
    with pytest.raises(kind) as caught:
        launch(job, run_dir, LaunchSettings(workers, threads=1, gpu=False))
    assert type(caught.value) in (kind, *FAMILY.values())
    return str(caught.value)


RAYS = 2  # times that Ray unpickles a job, beside once in every start of every worker


class Counted:
    """A text that leaves a folder wherever it is unpickled, so that starts of a worker can be counted."""

    def __init__(self, folder: Path):
        folder.mkdir()
        self.folder = folder

    def __reduce__(self):
        return tempfile.mkdtemp, (None, None, str(self.folder))

    @property
    def count(self) -> int:
        return len(list(self.folder.iterdir()))


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.check)])
def test_a_divergence_arrives_once_in_the_same_words_and_the_checkpoint_stays(workers, student, tmp_path, ray_here):
    job = changed(student, learning_rate=1000.0, weight_decay=1000.0, clip=0.0, optimizer="adamw")
    expected = words_of(Divergence, job, tmp_path / "here", 0)
    job = replace(job, teacher_sha256=(starts := Counted(tmp_path / "starts")))
    assert words_of(Divergence, job, tmp_path / "ray", workers).split(":")[0] == expected.split(":")[0]
    assert starts.count == RAYS + workers * workers, "two workers are started again, and return at once"
    assert re.match(r"cd diverged at step \d+ \(\d+ images\)", expected)
    assert same_bits(tmp_path / "here", tmp_path / "ray") or workers == 2
    assert checkpoints(tmp_path / "ray" / "checkpoints")


@pytest.mark.check  # a launch takes a quarter of a minute, and each kind of error has a test without one
def test_a_wrong_value_arrives_in_the_same_words(student, tmp_path, ray_here):
    recipe = student.recipe
    job = replace(student, recipe=replace(recipe, network=recipe.network | {"channels": 8}))
    expected = words_of(ValueError, job, tmp_path / "here", 0)
    assert words_of(ValueError, job, tmp_path / "ray", 1) == expected and "start from its teacher" in expected


def test_a_fault_of_ours_is_not_tried_again_and_arrives_with_its_traceback(student, tmp_path, ray_here):
    starts = Counted(tmp_path / "starts")
    job = replace(student, data=None, teacher_sha256=starts)
    message = words_of(RuntimeError, job, tmp_path / "run", 1)
    assert "TypeError" in message and "store.py" in message
    assert starts.count == RAYS + 1


@pytest.mark.parametrize(
    ("workers", "threads", "gpu", "machines", "expected"),
    [
        (1, 0, False, [{"CPU": 2}], 2),
        (1, 0, False, [{"CPU": 2}, {"CPU": 8}], 8),
        (3, 0, False, [{"CPU": 8}, {"CPU": 4}], 4),
        (4, 0, False, [{"CPU": 2}, {"CPU": 2}], 1),
        (2, 0, True, [{"CPU": 64}, {"CPU": 8, "GPU": 2}], 4),
        (2, 3, False, [{"CPU": 4}, {"CPU": 4}], 3),
        (2, 3, False, [{"CPU": 5}], None),
        (5, 0, False, [{"CPU": 2}, {"CPU": 2}], None),
        (1, 0, True, [{"CPU": 2}], None),
    ],
)
def test_no_worker_needs_more_than_a_machine_has(workers, threads, gpu, machines, expected):
    settings = LaunchSettings(workers, threads)
    if expected:
        assert share_threads(settings, gpu, machines) == expected
    else:
        with pytest.raises(ValueError, match=f"{workers} workers .* Ray has {machines[0]['CPU']} CPUs"):
            share_threads(settings, gpu, machines)


def test_networks_are_compiled_on_gpus_or_where_it_is_said():
    gpu, cpu = torch.device("cuda"), torch.device("cpu")
    assert [LaunchSettings(compile="auto").compiles(device) for device in (gpu, cpu)] == [True, False]
    assert [LaunchSettings(compile=True).compiles(device) for device in (gpu, cpu)] == [True, True]
    assert [LaunchSettings(compile=False).compiles(device) for device in (gpu, cpu)] == [False, False]
    with pytest.raises(InvalidInput, match="compile must be .*got 'yes'"):
        LaunchSettings(compile="yes")


def test_activations_are_computed_again_where_it_is_said():
    for said in (True, False):
        assert LaunchSettings(checkpoint_activations=said).worker(None, torch.device("cpu")).recomputes is said
    with pytest.raises(InvalidInput, match="checkpoint_activations must be true or false, got 'auto'"):
        LaunchSettings(checkpoint_activations="auto")


def test_float32_on_gpus_is_as_precise_as_is_said(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", torch.backends.cudnn.allow_tf32)
    before = torch.get_float32_matmul_precision()
    try:
        set_float32_precision(torch.device("cpu"), "medium")
        assert torch.get_float32_matmul_precision() == before, "on CPUs nothing changes"
        for said, tf32 in (("high", True), ("highest", False)):
            set_float32_precision(torch.device("cuda"), said)
            assert torch.get_float32_matmul_precision() == said and torch.backends.cudnn.allow_tf32 is tf32
    finally:
        torch.set_float32_matmul_precision(before)
    with pytest.raises(InvalidInput, match="Did you mean 'high'"):
        LaunchSettings(float32_matmul_precision="hihg")


@pytest.mark.check  # a launch takes a quarter of a minute, and each kind of error has a test without one
def test_a_full_disk_arrives_in_words_and_the_last_checkpoint_stays(student, small_disk, ray_here):
    disk = small_disk(16 * 2**20)
    Training(student, disk / "run").save()
    (disk / "ballast").write_bytes(bytes(2**20 * 11))
    large = max(f.stat().st_size for f in disk.rglob("*.safetensors"))
    with (disk / "more").open("wb") as file:
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
        file.write(bytes(max(0, free - large // 2)))
    message = words_of(OSError, student, disk / "run", 1)
    assert re.search(r"the disk is full: .* was not written to .*make room", message)
    assert [p.name for p in checkpoints(disk / "run" / "checkpoints")] == ["step_000000000"]
    assert load_newest(disk / "run" / "checkpoints")[1]["step"] == 0


@pytest.mark.parametrize("settings", [LaunchSettings(workers=64), LaunchSettings(workers=1, threads=512)])
def test_more_than_there_is_is_refused_before_work(settings, student, tmp_path, ray_here):
    job = replace(student, teacher_sha256=(starts := Counted(tmp_path / "starts")))
    with pytest.raises(ValueError, match=r"workers of \d+ threads need \d+ CPUs, and Ray has .*launch.workers"):
        launch(job, tmp_path / "run", settings)
    assert starts.count == 0 and not list((tmp_path / "run").iterdir())


class BusyRay:
    """ray.init, whose processes do not start in time at first."""

    def __init__(self, slow: int):
        self.slow = slow

    def __call__(self, **options):
        self.slow -= 1
        if self.slow >= 0:
            raise Exception("The current node timed out during startup.")
        return options


def test_ray_is_started_again_where_a_busy_machine_was_too_slow(monkeypatch):
    monkeypatch.setattr("ray.shutdown", lambda: None)
    monkeypatch.setattr("ray.init", BusyRay(STARTS - 1))
    assert _started(None, num_cpus=2) == {"address": None, "num_cpus": 2}
    monkeypatch.setattr("ray.init", BusyRay(STARTS))
    with pytest.raises(Unreachable, match=r"within 30 s, 3 times.*launch.workers=0"):
        _started(None)


def test_a_worker_that_cannot_see_the_project_says_so(student, tmp_path, ray_here):
    job = replace(student, data=str(tmp_path / "elsewhere"))
    message = words_of(ValueError, job, tmp_path / "run", 1)
    assert re.search(r"a worker on .* cannot see .*elsewhere: on several machines .* share", message)
    with pytest.raises(ValueError, match=r"cannot see .*launch-away"):
        check_shared(student, tmp_path / "launch-away")
