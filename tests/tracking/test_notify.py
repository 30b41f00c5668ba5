"""Who is told of an event: web addresses and commands, which cost a run nothing when they fail."""

import json
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from fewstep.support.errors import InvalidInput
from fewstep.tracking import TrackingSettings
from fewstep.tracking import notify as module
from fewstep.tracking.notify import notify, without_secrets


@pytest.fixture
def address():
    """A server that keeps what it is sent, at /hook; /slow takes long, and everything else is refused."""
    kept = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(0.5 if self.path == "/slow" else 0)
            kept.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(200 if self.path == "/hook" else 404)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", kept
        server.shutdown()


def test_an_address_and_a_command_get_the_same_json(address, tmp_path):
    place, kept = address
    notify([f"{place}/hook", f"cat > {tmp_path}/told.json"], "finished", "it has finished", dataset="digits", nfe=1)
    said = {"event": "finished", "text": "it has finished", "dataset": "digits", "nfe": 1}
    assert kept == [("/hook", "application/json", said)]
    assert json.loads((tmp_path / "told.json").read_text()) == said


def test_targets_that_fail_are_warnings_without_secrets_and_the_others_are_told(address, tmp_path, caplog, monkeypatch):
    place, _ = address
    monkeypatch.setattr(module, "SECONDS", 0.2)
    failing = [f"{place}/secret-token", f"{place}/slow", "http://127.0.0.1:9/secret-token", "sleep 5; secret-token"]
    start = time.monotonic()
    notify([*failing, "sh -c 'echo no room >&2; exit 3'", f"cat > {tmp_path}/told.json"], "failed", "it has failed")
    assert time.monotonic() - start < 5
    assert (tmp_path / "told.json").exists()
    assert [record.levelname for record in caplog.records] == ["WARNING"] * 5
    assert "secret" not in caplog.text and "it ended with 3 no room" in caplog.text
    assert caplog.text.count("http://127.0.0.1/... was not told that it has failed") == 3


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("https://hooks.example.org:8443/services/T0/secret?token=secret", "https://hooks.example.org/..."),
        ("curl -H 'Authorization: secret' host", "curl ..."),
        ("TOKEN=secret tell", "..."),
        ("tell", "tell"),
    ],
)
def test_what_is_shown_of_a_target_has_no_secret(target, shown):
    assert without_secrets(target) == shown


@pytest.mark.parametrize("target", ["", "a\nb", "ftp://host/x", "http:///x", 5])
def test_what_is_no_target_is_refused(target):
    with pytest.raises(InvalidInput, match=r"notify must be"):
        TrackingSettings(notify=(target,))
