"""MLflow's pages over the store of a run, as `make ui` shows them to a person, and the report."""

import html
import os
import re
import shutil
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

from onestep.tracking import Store

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # asks nothing beyond the machine
QUIET = ("--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage")
TRAINING = "workflowType=machine_learning"  # else MLflow shows its pages for language models
MAKEFILE = (Path(__file__).parents[1] / "Makefile").read_text()
EXPORTED = dict(re.findall(r"^export (\w+) = (\w+)$", MAKEFILE, re.MULTILINE))

pytestmark = pytest.mark.check


class Browser:
    """Headless Chromium that is a new visitor of every page."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.program = next(filter(None, map(shutil.which, BROWSERS)), None)
        if self.program is None:
            pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")

    def look(self, name: str, url: str, *words: str, height: int = 1600) -> str:
        """The page as HTML once it has all of these words in its text, and a picture of it in <name>.png."""
        for _ in range(3):
            page = self._open(name, url, height)
            text = " ".join(html.unescape(re.sub(r"<(script|style).*?</\1>|<[^>]*>", " ", page, flags=re.S)).split())
            missing = [word for word in words if word not in text]
            if not missing:
                break
        assert missing == [], f"{url}: {text}"
        assert len(Image.open(self.folder / f"{name}.png").getcolors(2**24)) > 100, f"{url} is blank"
        return page

    def _open(self, name: str, url: str, height: int) -> str:
        shown = [f"--screenshot={self.folder / name}.png", f"--window-size=1500,{height}", "--dump-dom"]
        profile = f"--user-data-dir={self.folder / 'profile'}"
        shutil.rmtree(self.folder / "profile", ignore_errors=True)
        words = [self.program, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=30000", profile]
        environment = {**os.environ, "HOME": str(self.folder)}
        return subprocess.run(
            [*words, ALONE, *QUIET, *shown, url], env=environment, capture_output=True, text=True, timeout=120
        ).stdout


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    return Browser(tmp_path_factory.mktemp("browser"))


@pytest.fixture(scope="module")
def trained(browser, tmp_path_factory, make_project):
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
    words = re.search(r"^\t\$\(BIN\)/(mlflow ui .*) --port \d+$", MAKEFILE, re.MULTILINE)[1].split()
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
    client = Store.at(trained.root, "sqlite:///mlflow.db").client()
    experiment = client.get_experiment_by_name("test").experiment_id
    return next(run for run in client.search_runs([experiment]) if run.info.run_name == "cd")


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


def test_an_experiment_lists_its_runs(browser, address, run):
    browser.look("experiment", page_of(address, run), "Runs", " cd ", " teacher ", "2 matching runs")


def test_a_run_has_its_scores_its_parameters_and_its_model(browser, address, run):
    score = f"fid_test/nfe_01 {run.data.metrics['fid_test/nfe_01']}"
    words = ("Finished", score, "objective.name consistency_distillation", "onestep-test v1")
    browser.look("run", page_of(address, run, f"/{run.info.run_id}"), *words)


def test_a_run_has_its_curves_and_a_slider_of_samples(browser, address, run):
    place = page_of(address, run, f"/{run.info.run_id}/model-metrics")
    words = (" loss ", " learning_rate ", " samples_nfe1 ")
    assert "slider" in browser.look("curves", place, *words, height=6000)  # a chart out of sight is not drawn


def test_a_run_shows_its_sheet(browser, address, run):
    page = browser.look("sheet", page_of(address, run, f"/{run.info.run_id}/artifacts/sheet.png"), "ladder.png")
    assert re.search(r'<img alt="sheet.png" src="blob:', page)


def test_the_registered_model_has_its_version_and_its_aliases(browser, address):
    words = ("onestep-test", "Version 1", "@ challenger", "@ champion", "recipe : cd", "fid_test/nfe_01")
    browser.look("model", f"{address}/#/models/onestep-test", *words)


@pytest.mark.parametrize("width", [1200, 360])
def test_the_report_reads_at_every_width_and_asks_for_nothing(browser, report, asked, width):
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
    page = browser.look(f"report{width}", f"{address}/frame.html", "pixels wide", height=6000)
    wide, shown, images = map(int, re.search(r"(\d+) pixels wide, (\d+) of (\d+) shown", page).groups())
    assert wide <= width and shown == images > 5
    assert set(asked) == {"GET /frame.html HTTP/1.1", "GET /report.html HTTP/1.1"}


def test_a_run_has_its_report(browser, address, run, report):
    browser.look("artifact", page_of(address, run, f"/{run.info.run_id}/artifacts"), "report.html")


def test_make_turns_telemetry_off(monkeypatch):
    """By MLflow's own reading: a server says nothing of it under pytest, where MLflow never sends."""
    from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY

    monkeypatch.delenv("MLFLOW_DISABLE_TELEMETRY", raising=False)
    for name, value in EXPORTED.items():
        monkeypatch.setenv(name, value)
    assert MLFLOW_DISABLE_TELEMETRY.get()
