"""The registered model behind MLflow's scoring server: what it answers, and what it says of bad requests."""

import asyncio
import base64
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onestep.tracking import register
from onestep.training.model import Model

CHAMPION = "models:/onestep-digits@champion"


def decoded(answer):
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)))) for picture in answer["images"]])


@pytest.fixture
def served(store, finished_model, scores, monkeypatch):
    """The champion in MLflow's application: a function of (body, content type) -> (status, answer)."""
    import mlflow
    from mlflow.pyfunc import load_model, scoring_server

    folder = finished_model(labels=True)
    register(folder, scores(26.0), store)
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # as the application does, and here no longer
    before = mlflow.get_tracking_uri(), mlflow.get_registry_uri()
    mlflow.set_tracking_uri(store.uri)
    mlflow.set_registry_uri(store.uri)
    application = scoring_server.init(load_model(CHAMPION))

    async def post(body: bytes, kind: str):
        sent, waiting = [], [{"type": "http.request", "body": body, "more_body": False}]
        headers = [(b"content-type", kind.encode())]
        scope = {"type": "http", "method": "POST", "path": "/invocations", "raw_path": b"/invocations"}
        scope |= {"query_string": b"", "headers": headers, "http_version": "1.1", "asgi": {"version": "3.0"}}

        async def receive():
            return waiting.pop(0) if waiting else await asyncio.sleep(60)

        async def send(message):
            sent.append(message)

        await application(scope, receive, send)
        return sent[0]["status"], b"".join(message.get("body", b"") for message in sent[1:]).decode()

    yield folder, lambda body, kind="application/json": asyncio.run(post(body, kind))
    mlflow.set_tracking_uri(before[0])
    mlflow.set_registry_uri(before[1])


def asked(*requests):
    return json.dumps({"inputs": list(requests)}).encode()


def test_pictures_and_what_made_them(served):
    folder, post = served
    status, answer = post(asked({"num_images": 3, "steps": 2, "seed": 7, "label": 4}, {}))
    assert status == 200, answer
    first, second = json.loads(answer)["predictions"]
    model = Model.load(folder)
    assert np.array_equal(decoded(first), model.sample(2, 7, range(3), [4] * 3)[:, 0])
    made_by = {"steps": 2, "seed": 7, "label": 4, "levels": model.levels(2).tolist(), "model_sha256": model.sha256}
    assert {key: first[key] for key in made_by} == made_by
    assert (first["model"], first["version"]) == ("onestep-digits", 1)
    assert np.array_equal(decoded(second), model.sample(1, 0, range(1))[:, 0])


def test_many_pictures_are_those_of_smaller_requests(served):
    _, post = served
    answers = [json.loads(post(asked({"num_images": n, "seed": 3}))[1])["predictions"][0] for n in (150, 5)]
    assert decoded(answers[0]).shape == (150, 8, 8)
    difference = decoded(answers[0])[:5].astype(int) - decoded(answers[1])
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (asked({"num_images": 1_000_000}), "num_images = 1000000: it is between 1 and 256"),
        (asked({"num_images": 0}), "num_images = 0: it is between 1 and 256"),
        (asked({"num_images": 200}, {"num_images": 200}), "400 images in one call: they are at most 256"),
        (asked({"steps": 65}), "steps = 65: it is between 1 and 64"),
        (asked({"label": 10}), "label = 10: it is between 0 and 9"),
        (asked({"label": -1}), "label = -1"),
        (asked({"num_image": 1}), "Did you mean 'num_images'"),
        (asked({"seed": "one"}), "seed"),
        (asked({"steps": 1.5}), "steps"),
        (asked("three"), "three"),
        (b'{"inputs": {"steps": 1}}', "list"),
        (b'{"instance": []}', "inputs"),
        (b"{not json", "JSON"),
    ],
)
def test_a_bad_request_is_told_in_words(served, body, words):
    status, answer = served[1](body)
    assert status == 400
    said = json.loads(answer)
    assert words in said["message"]
    assert "Traceback" not in answer


def test_another_content_is_refused(served):
    assert served[1](b"steps\n1\n", "text/html")[0] == 415


@pytest.mark.check
def test_the_server_as_it_is_started(store, tmp_path, finished_model, scores):
    folder = finished_model()
    register(folder, scores(26.0), store)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", CHAMPION, "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow looks for uvicorn there
    environment = {**os.environ, "MLFLOW_TRACKING_URI": store.uri, "PATH": path}
    with (tmp_path / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "mlflow", *words]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/invocations",
            asked({"num_images": 2, "seed": 1}),
            {"content-type": "application/json"},
        )
        for _ in range(120):
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(1)
        answer = json.load(urllib.request.urlopen(request, timeout=60))
        assert answer["predictions"][0]["version"] == 1
        assert np.array_equal(decoded(answer["predictions"][0]), Model.load(folder).sample(1, 1, range(2))[:, 0])
        request.data = asked({"num_images": 10**6})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(request, timeout=60)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)
