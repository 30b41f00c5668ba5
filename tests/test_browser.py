"""MLflow's pages over the backend of a run, as `make ui` shows them to a person, and the report."""

import os
import re
import signal
import socket
import subprocess
import threading
import time
import urllib.request
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from fewstep.tracking import Backend

TRAINING = "workflowType=machine_learning"  # else MLflow shows its pages for language models
MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()
EXPORTED = dict(re.findall(r"^export (\w+) = (\w+)$", MAKEFILE, re.MULTILINE))

pytestmark = pytest.mark.check


@pytest.fixture(scope="module")
def look(open_page, tmp_path_factory):
    """A function of (name, address, words): the page as HTML, once they and what a selector names are there."""
    folder = tmp_path_factory.mktemp("pictures")

    def read(name: str, address: str, *words: str, there: str = "body", height: int = 1600) -> str:
        with open_page(address, height) as page:
            page.wait(f"document.querySelector('{there}') != null")
            found = page.read(*words)
            page.picture(folder / f"{name}.png")
        assert len(Image.open(folder / f"{name}.png").getcolors(2**24)) > 100, f"{address} is blank"
        return found

    return read


@pytest.fixture(scope="module")
def trained(open_page, tmp_path_factory, make_project):
    """A project with runs and a registered model."""
    project = make_project(tmp_path_factory.mktemp("project") / "project")
    code, output = project.run("kedro", "run", "--env=test", "--params=launch.workers=0,launch.threads=1")
    assert code == 0, output
    return project


@pytest.fixture(scope="module")
def address(trained):
    """What `make ui` opens, at a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    words = re.search(r"^\t\$\(BIN\)/(mlflow ui .*) --port \$\(PORT\)$", MAKEFILE, re.MULTILINE)[1].split()
    with (trained.root / "ui.log").open("wb") as log:
        process = subprocess.Popen(
            [trained.BIN / words[0], *words[1:], "--port", port],
            cwd=trained.root,
            env={**os.environ, **EXPORTED},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield wait_for(f"http://127.0.0.1:{port}")
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


def wait_for(address: str) -> str:
    """The address, once it answers."""
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/health").close()
            return address
        except OSError:
            time.sleep(0.5)
    raise TimeoutError(f"nothing answers at {address}")


@pytest.fixture(scope="module")
def run(trained):
    """The student's MLflow run."""
    client = Backend.at(trained.root, "sqlite:///mlflow.db").client()
    experiment = client.get_experiment_by_name("test").experiment_id
    return next(run for run in client.search_runs([experiment]) if run.data.tags["recipe"] == "cd")


@pytest.fixture(scope="module")
def asked():
    """What is asked of the report's server."""
    return []


@pytest.fixture(scope="module")
def report(trained, asked):
    """Where the report is served."""
    code, output = trained.run("kedro", "run", "--env=test", "--pipelines=report")
    assert code == 0, output
    folder = trained.root / "data/08_reporting/test/cd"

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, form, line, *_):
            asked.append(line)

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def page_of(address: str, run, place: str = "") -> str:
    return f"{address}/#/experiments/{run.info.experiment_id}/runs{place}?{TRAINING}"


def test_an_experiment_lists_its_runs(look, address, run):
    look("experiment", page_of(address, run), "Runs", " cd 640 lr=0.001 ", " teacher 640 lr=0.001 ", "2 matching runs")


def test_a_run_has_its_scores_its_parameters_and_its_model(look, address, run):
    score = f"fid_1nfe {run.data.metrics['fid_1nfe']}"
    words = ("Finished", score, "objective.name consistency_distillation", "fewstep-test v1")
    look("run", page_of(address, run, f"/{run.info.run_id}"), *words)


def test_a_run_has_its_curves_and_a_slider_of_samples(look, address, run):
    place = page_of(address, run, f"/{run.info.run_id}/model-metrics")
    words = (" loss ", " learning_rate ", " fid_1nfe ", "scores_by_nfe", " samples_nfe1 ")
    look("curves", place, *words, there="[role=slider]", height=3000)  # a chart out of sight is not drawn


def test_a_run_shows_its_sheet(look, address, run):
    place, there = page_of(address, run, f"/{run.info.run_id}/artifacts/sheet.png"), '[alt="sheet.png"][src^="blob:"]'
    look("sheet", place, "ladder.png", there=there)


def test_the_registered_model_has_its_version_and_its_aliases(look, address):
    words = ("fewstep-test", "Version 1", "@ challenger", "@ champion", "recipe : cd", "fid_test/nfe_01")
    look("model", f"{address}/#/models/fewstep-test", *words)


@pytest.mark.parametrize("width", [1200, 360])
def test_the_report_reads_at_every_width_and_asks_for_nothing(look, report, asked, width):
    """In a frame of that width: the page is no wider, its pictures are there, and nothing is asked but the page."""
    folder, address = report
    measure = (
        "const page = frame.contentDocument, images = [...page.images];"
        "document.body.append(`${page.documentElement.scrollWidth} pixels wide, `"
        "+ `${images.filter(i => i.naturalWidth && i.clientWidth <= innerWidth).length} of ${images.length} shown`)"
    )
    frame = f'<iframe id="frame" src="report.html" width="{width}" height="6000" onload="{measure}"></iframe>'
    (folder / "frame.html").write_text(f'<link rel="icon" href="data:,"><body style="margin:0">{frame}')
    asked.clear()
    page = look(f"report{width}", f"{address}/frame.html", "pixels wide", height=6000)
    wide, shown, images = map(int, re.search(r"(\d+) pixels wide, (\d+) of (\d+) shown", page).groups())
    assert wide <= width and shown == images > 5
    assert set(asked) == {"GET /frame.html HTTP/1.1", "GET /report.html HTTP/1.1"}


def test_a_run_has_its_report(look, address, run, report):
    look("artifact", page_of(address, run, f"/{run.info.run_id}/artifacts"), "report.html")


def test_make_turns_telemetry_off(monkeypatch):
    """By MLflow's own reading: a server says nothing of it under pytest, where MLflow never sends."""
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    for name, value in EXPORTED.items():
        monkeypatch.setenv(name, value)
    assert MLFLOW_DISABLE_TELEMETRY.get()
