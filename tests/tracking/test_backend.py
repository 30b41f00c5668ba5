"""Where MLflow keeps things."""

import json
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from fewstep.registry import history, load_newer, load_registered
from fewstep.tracking import Backend


def test_what_is_given_comes_before_the_environment_and_the_default(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert Backend.at(tmp_path) == Backend(f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://host:5000")
    assert Backend.at(tmp_path).uri == "http://host:5000"
    assert Backend.at(tmp_path, "sqlite:///other.db").uri == f"sqlite:///{tmp_path}/other.db"
    assert Backend.at(tmp_path, "sqlite:////else/where.db").uri == "sqlite:////else/where.db"


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns"])
def test_a_folder_is_refused(tmp_path, uri):
    with pytest.raises(ValueError, match=r"sqlite:///mlflow.db"):
        Backend.at(tmp_path, uri)


def test_a_backend_that_is_away_says_so_soon_and_without_its_password(tmp_path):
    backend = Backend.at(tmp_path, "http://me:secret@127.0.0.1:9")
    with pytest.raises(ConnectionError, match=r"MLflow at http://127.0.0.1:9 does not answer") as problem:
        backend.client()
    assert "secret" not in str(problem.value)


@pytest.fixture
def answering():
    """A function that starts a server: it knows experiments, and what is asked of models has this answer, or none."""
    started = []

    def start(status, code):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                there = "experiments" in self.path
                if status or there:
                    self.send_response(200 if there else status)
                    self.end_headers()
                    self.wfile.write(json.dumps({} if there else {"error_code": code, "message": "as it is"}).encode())

            do_POST = do_GET

            def log_message(self, *_):
                pass

        started.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=started[-1].serve_forever, daemon=True).start()
        return Backend(f"http://me:secret@127.0.0.1:{started[-1].server_port}")

    yield start
    for server in started:
        server.shutdown()
        server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("status", "code", "kind", "words"),
    [
        (404, "RESOURCE_DOES_NOT_EXIST", ValueError, "is not in the registry at http://127.0.0.1"),
        (403, "PERMISSION_DENIED", ValueError, "cannot be read in the registry at http://127.0.0.1"),
        (503, "TEMPORARILY_UNAVAILABLE", ConnectionError, "MLflow at http://127.0.0.1:[0-9]+ does not answer"),
        (None, None, ConnectionError, "MLflow at http://127.0.0.1:[0-9]+ does not answer"),
    ],
)
def test_what_is_not_there_is_not_what_cannot_be_had(answering, monkeypatch, status, code, kind, words):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    backend = answering(status, code)
    for ask in (
        lambda: load_registered("models:/fewstep-digits/1", backend),
        lambda: load_newer(backend, "fewstep-digits", "champion", 1),
        lambda: history(backend, "fewstep-digits"),
    ):
        with pytest.raises(kind, match=words) as problem:
            ask()
        assert "secret" not in str(problem.value)


def test_a_file_that_is_no_database_is_left_alone(tmp_path):
    (tmp_path / "mlflow.db").write_text("notes of mine" * 100)
    with pytest.raises(ConnectionError, match="not a database"):
        Backend.at(tmp_path, "sqlite:///mlflow.db").client()
    assert (tmp_path / "mlflow.db").read_text() == "notes of mine" * 100


@pytest.mark.slow
def test_plain_mlflow_looks_at_the_same_default(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    code = "import mlflow; print(mlflow.get_tracking_uri())"
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == Backend.at(tmp_path).uri


def test_importing_tracking_imports_no_mlflow():
    code = "import sys, fewstep.tracking; sys.exit('mlflow' in sys.modules or 'torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
