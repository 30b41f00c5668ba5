"""What tests share: real digits, networks drawn at random, a project of one's own, a browser, Ray, a full disk."""

import base64
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
import zlib
from contextlib import ExitStack, chdir
from dataclasses import replace
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner


def pytest_addoption(parser):
    parser.addoption("--kills", type=int, default=8, help="of first minutes, in tests/test_kills.py")


def pytest_configure(config):
    torch.set_num_threads(1)  # on busy cores two are slower, since each waits for the other


@pytest.fixture(autouse=True)
def one_thread():
    """A test that trains here leaves the number of threads to those after it as it was."""
    yield
    torch.set_num_threads(1)


class Reference:
    """A small network of the authors: its configuration, weights, inputs, outputs and other numbers."""

    FOLDER = Path(__file__).parent / "reference" / "networks"

    def __init__(self, family: str):
        from safetensors.torch import load_file

        self.facts = json.loads((self.FOLDER / f"small_{family}.json").read_text())
        self.config, self.tensors = self.facts["config"], load_file(self.FOLDER / f"small_{family}.safetensors")
        self.buffers, self.inputs, self.output = self.part("buffer"), self.part("input"), self.tensors.get("output")
        drawn = {name: self.drawn(name, shape) for name, shape in self.facts["parameters"].items()}
        self.parameters = {name: tensor for name, tensor in drawn.items() if name not in self.buffers}

    def part(self, name: str) -> dict[str, torch.Tensor]:
        """The tensors whose names begin so, without that."""
        return {n.removeprefix(f"{name}."): t for n, t in self.tensors.items() if n.startswith(f"{name}.")}

    @staticmethod
    def drawn(name: str, shape: list[int]) -> torch.Tensor:
        """A parameter, as the README beside the files has it."""
        r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if r.ndim > 1:
            return r / math.sqrt(r[0].numel())
        return 1 + 0.1 * r if name.endswith("weight") else 0.05 * r


@pytest.fixture(scope="session")
def reference():
    """The class Reference."""
    return Reference


@pytest.fixture(scope="session")
def patches_folder(tmp_path_factory):
    """A function of (channels, patch_size): the folder of an autoencoder that loses nothing."""

    def make(channels, patch_size=1):
        folder = tmp_path_factory.mktemp("autoencoders") / "patches"
        folder.mkdir()
        facts = {"_class_name": "Patches", "in_channels": channels, "patch_size": patch_size}
        (folder / "config.json").write_text(json.dumps(facts))
        return folder

    return make


@pytest.fixture
def vae_folder(reference, tmp_path):
    """The folder of a small AutoencoderKL of diffusers, and the reference of its numbers."""
    from safetensors.torch import save_file

    known, folder = reference("vae"), tmp_path / "vae"
    folder.mkdir()
    save_file(known.parameters, folder / "diffusion_pytorch_model.safetensors")
    (folder / "config.json").write_text(json.dumps({"_class_name": "AutoencoderKL", **known.config}))
    return folder, known


@pytest.fixture(scope="session")
def randomised():
    """A function that draws every parameter of a module at random, zero-initialised ones too."""

    def draw(module, seed=0, std=0.02):
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.copy_(std * torch.randn(parameter.shape, generator=generator))
        return module

    return draw


@pytest.fixture
def draw_model(randomised):
    """A small model in memory: a function of (facts, space, seed, std). facts: as in model.json, or some of them."""
    from fewstep.models.model import Model, build_function
    from fewstep.models.spec import ModelSpec

    def draw(facts, space, seed=0, std=0.2):
        spec = ModelSpec.from_json(facts)
        return Model(randomised(build_function(spec, space), seed, std).eval(), space, spec)

    return draw


def build_job(name, images, objective, network, training=None, teacher=None, **more):
    """A job of a small recipe. objective: its name, or it with its constants. more: what else the recipe says."""
    from fewstep.objectives import build_objective
    from fewstep.training.recipe import Recipe

    objective = {"name": objective} if isinstance(objective, str) else objective
    wrapper = {"name": build_objective(objective).preconditioner}
    facts = {"preconditioning": wrapper, "network": network, "training": training or {}, **more}
    return job_after_others(Recipe.from_json({"name": name, "objective": objective, **facts}), images, teacher)


def job_after_others(recipe, images, teacher=None):
    """A recipe's job, where its earlier recipes have made models with random weights."""
    from fewstep.models.model import Model, build_function
    from fewstep.training.job import Job

    if not recipe.earlier:
        return Job.of(recipe, images, teacher)
    before = job_after_others(recipe.earlier, images, teacher)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        function = build_function(before.spec, images.space)
    spec = replace(before.spec, provenance=replace(before.provenance, images=64, seconds=1.0))
    earlier = Model(function, images.space, spec).save(Path(tempfile.mkdtemp()) / before.name)
    return Job.of(recipe, images, teacher, earlier)


@pytest.fixture(scope="session")
def small_job():
    """The function build_job."""
    return build_job


@pytest.fixture(scope="session")
def job_after():
    """The function job_after_others."""
    return job_after_others


@pytest.fixture(scope="session")
def typed_parameters():
    """A function of (env, what --params would give): every parameter of the project, checked."""
    from fewstep.pipelines.config_loader import RecipeConfigLoader
    from fewstep.settings import CONFIG_LOADER_ARGS

    def parameters(env, **given):
        conf = str(Project.ORIGIN / "conf")
        return RecipeConfigLoader(conf, env=env, runtime_params=given, **CONFIG_LOADER_ARGS).parameters

    return parameters


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """The digits' array store."""
    from fewstep.data import ingest

    return ingest({"name": "digits"}, tmp_path_factory.mktemp("data") / "digits")


@pytest.fixture
def takes():
    """A function that parses words as a command of click's would, and runs nothing. Files need not be there."""

    def parse(command: click.Command, words: list[str]) -> None:
        while isinstance(command, click.Group) and words != ["..."]:
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


# Runs a command where there is no network but the machine's own, if the system lets us; else as it is.
CUT_OFF = """
import ctypes, fcntl, os, socket, struct, sys
if ctypes.CDLL(None).unshare(0x40000000) == 0:  # CLONE_NEWNET
    up = struct.pack("16sh", b"lo", 0x1 | 0x40)  # IFF_UP, IFF_RUNNING
    fcntl.ioctl(socket.socket(), 0x8914, up)  # SIOCSIFFLAGS
os.execv(sys.argv[1], sys.argv[1:])
"""


@pytest.fixture(scope="session")
def cut_off():
    """Words before a command that take the network from it."""
    return sys.executable, "-c", CUT_OFF


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

    def run_here(self, *words: str) -> tuple[int, str]:
        """As run, in this process, which saves the imports."""
        from kedro.framework.startup import bootstrap_project

        from fewstep.cli import cli, main

        with chdir(self.root):
            bootstrap_project(self.root)
            result = CliRunner().invoke(cli if words[0] == "kedro" else main, words[1:])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result.exit_code, result.output

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


class Page:
    """A page in headless Chromium, by its DevTools protocol: what a person does, as a test does it.

    `with Page(browser, folder, address) as page:`. folder: an empty one makes a new visitor.
    """

    BROWSERS = ("chromium", "chromium-browser", "google-chrome")
    ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # asks nothing beyond the machine
    QUIET = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio")
    CANVAS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a GPU: the editor paints by it

    def __init__(self, browser: str, folder: Path, address: str, height: int):
        profile = folder / "profile"
        ways = (f"--user-data-dir={profile}", "--remote-debugging-port=0", f"--window-size=1500,{height}")
        words = [browser, *self.QUIET, *self.CANVAS, self.ALONE, *ways, address]
        with (folder / "browser.log").open("wb") as log:
            self.process = subprocess.Popen(words, env={**os.environ, "HOME": str(folder)}, stdout=log, stderr=log)
        port = self._wait(lambda: (profile / "DevToolsActivePort").read_text().split()[0])
        targets = self._wait(lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list")))
        from websockets.sync.client import connect

        place = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        self.stack, self.number = ExitStack(), 0
        self.socket = self.stack.enter_context(connect(place, max_size=None))

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self.stack.close()
        self.process.terminate()
        self.process.wait(20)

    def send(self, method: str, **params) -> dict:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv(60))).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def value(self, script: str):
        """Of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str):
        """The value of an expression, once it is true."""
        return self._wait(lambda: self.value(script) or 1 / 0)

    def read(self, *words: str) -> str:
        """The page as HTML, once all of these words are in its text."""

        def look() -> str:
            text = " ".join(self.value("document.body.innerText").split())
            assert [word for word in words if word not in text] == [], text
            return self.value("document.documentElement.outerHTML")

        return self._wait(look)

    def click(self, x: float, y: float, *way: tuple[float, float]) -> None:
        """Press, move along the way, release."""
        self._mouse("mousePressed", x, y)
        for x, y in way:
            self._mouse("mouseMoved", x, y)
            time.sleep(0.05)
        self._mouse("mouseReleased", x, y)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _mouse(self, kind: str, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def _wait(self, look, seconds: float = 60):
        end = time.monotonic() + seconds
        while True:
            try:
                return look()
            except (OSError, ArithmeticError, AssertionError, IndexError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


@pytest.fixture(scope="session")
def open_page(tmp_path_factory):
    """A function that opens an address in a browser, as a new visitor."""
    if not (browser := next(filter(None, map(shutil.which, Page.BROWSERS)), None)):
        pytest.skip(f"no browser: none of {', '.join(Page.BROWSERS)} is on PATH")
    pytest.importorskip("websockets", reason="of requirements-extras.lock: it speaks to the browser")
    return lambda address, height=1000: Page(browser, tmp_path_factory.mktemp("page"), address, height)


@pytest.fixture(scope="session")
def ray_here():
    """Ray on this machine, started once."""
    from fewstep.launch import connect

    connect()
    yield
    import ray

    ray.shutdown()


def committed(name: str) -> dict:
    """Scores of digits that README and docs quote."""
    return json.loads((Project.ORIGIN / "docs" / "results" / name).read_text())


@pytest.fixture(scope="session")
def committed_metrics():
    """The scores of the main job."""
    return committed("digits_metrics.json")


@pytest.fixture(scope="session")
def committed_leaderboard():
    """The comparison of every recipe."""
    return committed("digits_leaderboard.json")


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
def empty_database(tmp_path_factory):
    """An MLflow database, made once: its schema takes seconds."""
    from fewstep.tracking import Backend

    backend = Backend.at(tmp_path_factory.mktemp("mlflow"), "sqlite:///mlflow.db")
    backend.client()
    return backend.database


@pytest.fixture(scope="session")
def begin_project(empty_database):
    """As make_project, where a command has made the database before."""

    def make(root):
        project = Project(root)
        shutil.copy(empty_database, root / "mlflow.db")
        return project

    return make


@pytest.fixture
def backend(tmp_path, empty_database):
    """A copy of it for each test."""
    from fewstep.tracking import Backend

    shutil.copy(empty_database, tmp_path / "mlflow.db")
    return Backend.at(tmp_path, "sqlite:///mlflow.db")


@pytest.fixture
def write_progress(tmp_path):
    """Append lines to the run folder's progress file, at some images seen, and return the folder."""
    folder = tmp_path / "runs" / "cd"

    def write(*images):
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "progress.jsonl").open("a") as file:
            for seen in images:
                numbers = {"loss": 1 / seen, "learning_rate": 0.1, "grad_norm": 1.0, "images_per_second": 9.0}
                entry = {"step": seen // 10, "images": seen, "total_images": 1000, **numbers, "seconds": seen / 9}
                file.write(json.dumps(entry) + "\n")
        return folder

    return write


@pytest.fixture
def finished_model(tmp_path, draw_model):
    """A small student, or a teacher, with weights of a seed, saved: a function of (seed, labels, teacher)."""
    from fewstep.data.space import DataSpace

    def build(seed=0, labels=False, teacher=False):
        space = DataSpace("digits", "images", (1, 8, 8), 0.5, tuple("0123456789"))
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1, "attn_resolutions": []}
        name, function = ("teacher", "edm") if teacher else ("cd", "consistency")
        facts = {"name": name, "network": network, "preconditioning": {"name": function}, "labels": labels}
        facts |= {"data_sha256": "d" * 64, "provenance": {"teacher_sha256": None if teacher else "7" * 64}}
        return draw_model(facts, space, seed, std=0.02).save(tmp_path / f"{name}_{seed}")

    return build


@pytest.fixture
def scores():
    """The evaluation of a student and its teacher: a function of (FID of the student at 1 NFE, changes of the JSON)."""
    from fewstep.evaluation.results import Evaluation

    def make(value, speed=900.0, **changes):
        seeds = changes.get("seeds", [0])

        def row(model, sampler, nfe, mean):
            means = {"fid_digits": {"values": [mean] * len(seeds)}, "memorisation": {"values": [0.0] * len(seeds)}}
            return {"model": model, "sampler": sampler, "nfe": nfe, "scores": means, "images_per_second": speed}

        rows = [row("cd", "multistep", 1, value), row("cd", "multistep", 2, value - 1)]
        rows += [row("teacher", "heun", 9, 119.0), row("teacher", "euler", 1, 300.0)]
        floor = {"count": 100, "scores": {"fid_digits": {"values": [19.0] * len(seeds)}}}
        facts = {"dataset": "digits", "data_sha256": "d" * 64, "extractor": {"name": "digits", "sha256": "e" * 64}}
        facts |= {"split": "train", "count": 100, "seeds": seeds, "floor": floor, "rows": rows}
        return Evaluation.from_json({**facts, **changes})

    return make
