"""Every command in a block of the README and docs/, typed in the order of reading in a small project: minutes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from runpy import run_path
from threading import Timer

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from fewstep.config.merging import merged
from fewstep.evaluation.results import Evaluation
from fewstep.exchange.checkpoints import import_openai
from fewstep.exchange.hugging_face import write_diffusers
from fewstep.models.model import SavedModel
from fewstep.networks import settings_of
from fewstep.registry import force, register
from fewstep.support.tensor_files import seal
from fewstep.tracking import Backend

PROJECT = Path(__file__).parents[1]
FIRST = ("README.md", *(f"docs/{name}.md" for name in ("pipelines", "methods", "dvc", "registry", "exchange")))
DOCUMENTS = tuple(dict.fromkeys([*FIRST, *(f"docs/{file.name}" for file in sorted(PROJECT.glob("docs/*.md")))]))
NOT_RUN = {
    "make test": "this is one of the tests",
    'pip install -e ".[demo]"': "packages are downloaded",
    'pip install -e ".[hub]"': "packages are downloaded",
    "kedro run --env=cifar10 --params=recipe=scd": "the data are a download",
    "kedro run --env=cifar10 --params=launch.workers=8": "eight workers need eight cores, and the data are a download",
}
DEMO = "fewstep demo --model models:/fewstep-digits@champion"
EXTRA = {} if find_spec("gradio") else {DEMO: "the packages of the extra 'demo' are not here"}
# Where a command has a large number, the name of a large file or a place of the reader's: what stands for it here.
STAND_INS = {
    "images=150000": "images=64",
    "images=70000": "images=64",
    "images=20000": "images=64",
    "images=10000": "images=64",
    "/where/they/are": "../photographs",
    "/where/it/is": "../patches",
    "/some/folder": "../remote",
    "edm_imagenet64_ema.pt": "edm_imagenet64_ema.pt --config options.json",
}
SERVERS = {  # {start of a command: what answers once it is there}
    "make ui": "localhost:5000",
    "mlflow models serve": "localhost:{port}/ping",
    "fewstep demo": "localhost:7860",
    "fewstep serve": "localhost:5001/ping",
}
# What a command finds done, besides what the commands before it did.
BEFORE = {
    "dvc pull dvc.yaml && fewstep registry sync": "git clone -q . ../clone && cd ../clone",
    "kedro run --params=launch.workers=2": "rm -r runs/digits/cd-*",
}
# The largest numbers of trainings and evaluations, and what a published network needs of what is not here.
MOST = {"images": 64, "batch_size": 16, "count": 48, "search_count": 48, "amount": 384}
LIKE = {"inception": "classifier", "lpips": "l2"}
OWN = {
    "network": {"network": {"channels": 16, "channel_mult": [1], "num_blocks": 1}},
    "run": {"launch": {"workers": 0, "threads": 1}},
    "evaluation": {"evaluation": {"student_nfe": [1, 2], "teacher_nfe": {"heun": [3], "euler": [1], "deis_3": None}}},
    "comparison": {"comparison": {"seeds": [0, 1], "teacher_nfe": {"heun": [3]}}},
    "images": {"network": {"channels": 16, "channel_mult": [1, 1], "attn_resolutions": []}},
}
IDENTITY = {f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
END = "-- ended --"

exchange = run_path(str(PROJECT / "tests" / "exchange" / "conftest.py"))
nvidia, network_pickle = (exchange[name] for name in ("nvidia", "network_pickle"))


def blocks() -> list[list[str]]:
    """The commands of each block, without comments."""
    text = "\n".join((PROJECT / name).read_text() for name in DOCUMENTS)
    found = re.findall(r"^```bash\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    return [[line for line in re.sub(r"(^|\s+)# .*", "", block, flags=re.M).splitlines() if line] for block in found]


class Shell:
    """A shell in a folder. A server that it starts is alone in its process group."""

    def __init__(self, folder: Path, cut_off: tuple, environment: dict):
        self.folder, self.servers = folder, []
        self.bash = subprocess.Popen(
            [*cut_off, shutil.which("bash")],
            cwd=folder,
            env={**os.environ, **environment},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def type(self, line: str, seconds: float = 600) -> tuple[int, str]:
        """The exit code of a line and what it printed."""
        watch = Timer(seconds, os.killpg, (self.bash.pid, signal.SIGKILL))
        watch.start()
        self.bash.stdin.write(f"{{ {line}\n}} </dev/null 2>&1; printf '\\n{END} %s\\n' $?\n")
        self.bash.stdin.flush()
        said = []
        for text in self.bash.stdout:
            if text.startswith(END):
                watch.cancel()
                return int(text.removeprefix(END)), "".join(said)
            said.append(text)
        return -1, f"{''.join(said)}\nkilled after {seconds} seconds"

    def serve(self, line: str, page: str) -> tuple[int, str]:
        """Start a server and ask for a page of it."""
        said = self.type(f"setsid {line} >server.log 2>&1 & echo $!")[1]
        self.servers.append(int(said))
        code, _ = self.type(f"curl -s --retry 90 --retry-delay 1 --retry-connrefused {page}")
        return code, (self.folder / "server.log").read_text()

    def stop(self) -> None:
        """End the servers."""
        while self.servers:
            server = self.servers.pop()
            self.type(f"kill -- -{server}; wait {server}", 30)


def smaller(value, name: str | None = None):
    """Parameters with numbers of MOST, and what is LIKE others in their place."""
    if isinstance(value, dict):
        return {key: smaller(below, key) for key, below in value.items()}
    if name in MOST and isinstance(value, int):
        return min(value, MOST[name])
    return LIKE.get(value, value) if isinstance(value, str) else value


def draw_pictures(folder: Path, count: int, size: tuple[int, ...]) -> None:
    """PNGs of noise."""
    folder.mkdir(parents=True)
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (count, *size), np.uint8)):
        Image.fromarray(pixels).save(folder / f"{number}.png")


@pytest.fixture
def published(tmp_path, reference, network_pickle):
    """What stands for published files, in the project's folder: the settings of OpenAI's network."""
    folder = tmp_path / "project"
    folder.mkdir()
    theirs = reference("openai")
    config = {**theirs.config, "image_size": 16, "attention_resolutions": "8", "class_cond": False}
    (folder / "options.json").write_text(json.dumps(config))
    file = folder / "edm_imagenet64_ema.pt"
    torch.save({name: w for name, w in theirs.parameters.items() if not name.startswith("label_emb")}, file)
    student = import_openai(file, "cd", "imagenet64", teacher=False, config=config)
    write_diffusers(student, folder / "diffusers-cd_imagenet64_l2")
    shutil.copy(network_pickle(reference("ddpmpp")), folder / "edm-cifar10-32x32-uncond-vp.pkl")
    return settings_of(student.spec.network)


@pytest.fixture
def project(tmp_path, published):
    """A copy of the project with small trainings, a repository of its own, and what the documents' reader has."""
    folder = tmp_path / "project"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    for name in filter(lambda name: (PROJECT / name).is_file(), listed.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PROJECT / name, folder / name)
    unlabelled = {"training": {"labels": False}}
    imagenet64 = {"network": published, "data": {"source": {"resolution": 16}}, "teacher": unlabelled}
    own = {**OWN, "imagenet64": {**imagenet64, "recipes": {"cd": unlabelled}}}
    for path in folder.glob("conf/*/parameters/**/*.yml"):
        changed = merged(smaller(yaml.safe_load(path.read_text())), own.get(path.stem, {}))
        path.write_text(yaml.safe_dump(changed))
    for label in ("cats", "dogs"):
        draw_pictures(tmp_path / "photographs" / label, 40, (40, 36, 3))
    (tmp_path / "patches").mkdir()
    (tmp_path / "patches" / "config.json").write_text('{"_class_name": "Patches", "patch_size": 2}')
    draw_pictures(folder / "data/01_raw/imagenet64", 40, (16, 16, 3))
    for name in ("my_digits", "pictures"):
        draw_pictures(folder / name, 3 * MOST["count"], (8, 8))
    Image.fromarray(np.full((8, 8), 99, np.uint8)).save(folder / "a.png")
    Image.fromarray(np.pad(np.full((4, 4), 255, np.uint8), 2)).save(folder / "m.png")
    (folder / ".venv").mkdir()
    (folder / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (folder / ".venv" / "ready").touch()
    return folder


@pytest.fixture
def shell(project, cut_off):
    """Where the reader types; curl fails where a server refuses."""
    (project.parent / ".curlrc").write_text('fail\nnoproxy = "*"\n')
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    code = {"PYTHONPATH": str(project / "src"), "PATH": path, "OMP_NUM_THREADS": "1"}
    quick = {"DVC_NO_ANALYTICS": "1", "MLFLOW_WORKERS": "1"}
    shell = Shell(project, cut_off, {**IDENTITY, **code, **quick, "CURL_HOME": str(project.parent)})
    assert shell.type("git init -q && git add . && git commit -qm small")[0] == 0
    yield shell
    shell.stop()
    shell.bash.stdin.close()
    shell.bash.wait(30)


def make_versions(project: Path) -> None:
    """The digits' student as seven versions, by other scores; the second is champion."""
    backend, place = Backend.at(project), project / "data/08_reporting/digits/cd/scores.json"
    for number in range(2, 8):
        scores = json.loads(place.read_text())
        for row in scores["rows"]:
            values = row["scores"]["fid_digits"]["values"]
            row["scores"]["fid_digits"]["values"] = [value + number for value in values]
        scores["seal"] = seal({name: value for name, value in scores.items() if name != "seal"})
        student = SavedModel.open(project / "data/06_models/digits/cd")
        made = register(student, Evaluation.from_json(scores), backend)
    force(backend, made["name"], 2, "there is to be a previous one")


PREPARED = {"kedro run --pipelines=promote": make_versions}


def run(shell: Shell, command: str) -> tuple[int, str]:
    """The exit code of a command and what it printed, where it finds what it needs."""
    if not command.startswith("curl"):
        shell.stop()
    PREPARED.get(command, bool)(shell.folder)
    typed = command
    for written, meant in STAND_INS.items():
        typed = typed.replace(written, meant)
    if page := next((page for start, page in SERVERS.items() if command.startswith(start)), None):
        return shell.serve(typed, page.format(port=re.search(r"--port (\d+)|$", command)[1] or 5000))
    return shell.type(f"{BEFORE.get(command, 'true')} && {typed}")


@pytest.mark.check
def test_every_command_is_run(shell):
    done, failed = {*NOT_RUN, *EXTRA}, []
    for block in blocks():
        shell.type(f"cd {shell.folder}")
        for command in (command for command in block if command not in done):
            done.add(command)
            start = time.monotonic()
            code, said = run(shell, command)
            print(f"{time.monotonic() - start:6.1f} s  {command}", f"\n{said}" * bool(code), flush=True)
            failed += [command] * bool(code)
    assert failed == []


def test_what_is_not_run_is_in_the_documents():
    commands = [command for block in blocks() for command in block]
    assert NOT_RUN.keys() | BEFORE.keys() | {DEMO} <= set(commands)
    assert [word for word in STAND_INS if not any(word in command for command in commands)] == []
