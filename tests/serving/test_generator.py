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
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.data.space import DataSpace
from fewstep.editing import edit_images
from fewstep.editing.tasks import Inpaint
from fewstep.registry import force, register, rollback
from fewstep.serving.edit_requests import order_of
from fewstep.serving.request import BadRequest, Request

CHAMPION = "models:/fewstep-digits@champion"

pytestmark = pytest.mark.slow


def decoded(answer):
    return np.stack([np.asarray(Image.open(io.BytesIO(base64.b64decode(picture)))) for picture in answer["images"]])


@pytest.fixture
def served(backend, finished_model, scores, monkeypatch):
    """The champion in MLflow's application: a function of (body, content type) -> (status, answer)."""
    from mlflow.pyfunc import load_model, scoring_server

    folder = finished_model(labels=True)
    register(folder, scores(26.0), backend)
    monkeypatch.setenv("_MLFLOW_IS_IN_SERVING_ENVIRONMENT", "true")  # as the application does, and here no longer
    monkeypatch.setenv("MLFLOW_TRACKING_URI", backend.uri)
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

    return folder, lambda body, kind="application/json": asyncio.run(post(body, kind))


def asked(*requests):
    return json.dumps({"inputs": list(requests)}).encode()


def test_pictures_and_what_made_them(served):
    folder, post = served
    status, answer = post(asked({"num_images": 3, "nfe": 2, "seed": 7, "label": 4}, {}))
    assert status == 200, answer
    first, second = json.loads(answer)["predictions"]
    model = folder.load()
    assert np.array_equal(decoded(first), model.sample(nfe=2, seed=7, indices=range(3), labels=[4] * 3)[:, 0])
    made_by = {"nfe": 2, "seed": 7, "label": 4, "levels": model.levels(2).tolist(), "model_sha256": model.sha256}
    assert {key: first[key] for key in made_by} == made_by
    assert (first["model"], first["version"], first["class"]) == ("fewstep-digits", 1, "4")
    (named,) = json.loads(post(asked({"num_images": 3, "nfe": 2, "seed": 7, "label": "4"}))[1])["predictions"]
    assert named == first
    assert np.array_equal(decoded(second), model.sample(nfe=1, seed=0, indices=range(1))[:, 0])


def test_many_pictures_are_those_of_smaller_requests(served):
    _, post = served
    answers = [json.loads(post(asked({"num_images": n, "seed": 3}))[1])["predictions"][0] for n in (150, 5)]
    assert decoded(answers[0]).shape == (150, 8, 8)
    difference = decoded(answers[0])[:5].astype(int) - decoded(answers[1])
    assert abs(difference).max() <= 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (asked({"num_images": 1_000_000}), "num_images must be between 1 and 256, got 1000000"),
        (asked({"num_images": 0}), "num_images must be between 1 and 256, got 0"),
        (asked({"num_images": 200}, {"num_images": 200}), "one call must ask for at most 256 images, got 400"),
        (asked({"num_images": 256, "nfe": 5}), "one call must make at most 1024 evaluations (images x nfe), got 1280"),
        (
            asked({"num_images": 10, "nfe": 64}, {"num_images": 7, "nfe": 64}),
            "(images x nfe), got 1088",
        ),
        (asked({"nfe": 65}), "nfe must be between 1 and 64, got 65"),
        (asked({"label": 10}), "label must be the name or the number of a class, got 10. Classes: 0, 1, 2,"),
        (asked({"label": -1}), "label must be the name or the number of a class, got -1. Classes: 0, 1, 2,"),
        (asked({"label": "ten"}), "label must be the name or the number of a class, got 'ten'. Classes: 0, 1, 2,"),
        (asked({"label": 1.5}), "label must be the name or the number of a class, got 1.5. Classes: 0, 1, 2,"),
        (asked({"num_image": 1}), "Did you mean 'num_images'"),
        (asked({"seed": "one"}), "seed must be a whole number, got 'one'"),
        (asked({"nfe": 1.5}), "nfe must be a whole number, got 1.5"),
        (asked({"reload": "x"}), "reload must be true or false, got 'x'"),
        (asked("three"), "three"),
        (b'{"inputs": {"nfe": 1}}', "list"),
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


def test_steps_is_another_name_of_nfe(served):
    folder, post = served
    (answer,) = json.loads(post(asked({"steps": 2, "seed": 7, "label": 4}))[1])["predictions"]
    assert (answer["nfe"], answer["steps"]) == (2, 2)
    assert np.array_equal(decoded(answer), folder.load().sample(nfe=2, seed=7, indices=range(1), labels=[4])[:, 0])
    status, said = post(asked({"steps": 2, "nfe": 1}))
    assert (status, "no field 'steps'" in said) == (400, True)


def test_points_are_not_edited():
    model = SimpleNamespace(space=DataSpace("moons", "points", (2,), 1.0))
    for mask in (None, "center", encoded(np.zeros((8, 8), np.uint8))):
        request = Request(edit={"task": "inpaint", "mask": mask})
        with pytest.raises(BadRequest, match="edit: moons are points: only images can be edited"):
            order_of(request, model)


def test_a_refusal_is_a_sentence_without_the_request(served):
    pictures = ["x" * 10_000]
    for edit, words in (
        ({"task": "inpaint", "images": pictures}, "edit: image 1 must be a PNG in base64"),
        ({"images": pictures}, "edit.task must be given"),
        ({"task": 1, "images": pictures}, "edit.task must be text, got 1"),
    ):
        assert json.loads(served[1](asked({"edit": edit}))[1])["message"] == words


def test_another_content_is_refused(served):
    assert served[1](b"steps\n1\n", "text/html")[0] == 415


def encoded(image, kind="png"):
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind)
    return base64.b64encode(file.getvalue()).decode()


def blank(height, width, kind="png"):
    """A black picture, as a request has it."""
    return [encoded(np.zeros((height, width), np.uint8), kind)]


def test_an_edit_is_that_of_the_model(served):
    folder, post = served
    picture, mask = np.random.default_rng(0).integers(0, 256, (8, 8), np.uint8), np.zeros((8, 8), np.uint8)
    mask[2:5] = 255
    edit = {"task": "inpaint", "images": [encoded(picture)] * 2, "mask": encoded(mask)}
    status, said = post(asked({"seed": 3}, {"nfe": 2, "seed": 5, "label": 4, "edit": edit}))
    assert status == 200, said
    drawn, answer = json.loads(said)["predictions"]
    assert (len(drawn["images"]), len(answer["images"]), answer["version"]) == (1, 2, 1)
    made = decoded(answer)
    assert np.array_equal(made[:, mask == 0], np.stack([picture[mask == 0]] * 2))
    model = folder.load()
    start, task = model.space.encode(np.stack([picture[None]] * 2)), Inpaint(torch.from_numpy(mask > 0))
    expected = model.space.decode(edit_images(model, task, start, 2, 5, torch.tensor([4, 4])))
    assert abs(made.astype(int) - expected[:, 0]).max() <= 1
    made_by = {"nfe": 2, "seed": 5, "label": 4, "levels": model.levels(2).tolist(), "model_sha256": model.sha256}
    assert {key: answer[key] for key in made_by} == made_by
    strip = json.loads(post(asked({"edit": {"task": "interpolate", "frames": 3}, "label": 4}))[1])["predictions"][0]
    assert len(strip["images"]) == 3
    painting = {"task": "stroke", "images": [encoded(picture)], "first": 4.0, "last": 2.0}
    (painted,) = json.loads(post(asked({"nfe": 2, "edit": painting}))[1])["predictions"]
    assert painted["levels"] == pytest.approx([4.0, 2.0])


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        ({"task": "inpant"}, "Did you mean 'inpaint'"),
        ({"task": "inpaint"}, "needs an image"),
        ({"task": "inpaint", "images": ["x"]}, "image 1 must be a PNG in base64"),
        (
            {"task": "inpaint", "images": blank(8, 8, "bmp")},
            "image 1 must be a PNG in base64",
        ),
        ({"task": "inpaint", "mask": encoded(np.eye(8, dtype=np.uint8), "gif")}, "mask must be a PNG in base64"),
        (
            {"task": "inpaint", "images": blank(9, 8)},
            "no larger than the images of this model, got 8 x 9 pixels",
        ),
        (
            {"task": "inpaint", "images": blank(6, 8)},
            "image 1 must have 8 x 8 pixels, as digits have, got 8 x 6",
        ),
        ({"task": "inpaint", "mask": "/etc/passwd"}, "mask must be a PNG in base64"),
        ({"task": "interpolate", "frames": 10**6}, "edit.frames must be at most 256, got 1000000"),
        ({"task": "interpolate", "frames": -(10**6)}, "edit.frames must be at least 2, got -1000000"),
        ({"task": "denoise", "factor": 2}, "no option 'factor' of denoise"),
        (
            {"task": "superresolve", "factor": 0, "images": blank(8, 8)},
            "factor must be a divisor of both 8 and 8 (2, 4, 8), got 0",
        ),
        ({"task": "inpaint", "file": "x"}, "edit.file: Extra inputs are not permitted"),
    ],
)
def test_a_bad_edit_is_told_in_words(served, edit, words):
    status, answer = served[1](asked({"edit": edit}))
    assert status == 400, answer
    assert words in json.loads(answer)["message"]


def test_a_reload_serves_the_version_that_holds_the_followed_alias(
    served, backend, finished_model, scores, monkeypatch
):
    folder, post = served
    other = finished_model(1)
    register(other, scores(20.0), backend)
    force(backend, "fewstep-digits", 2, "better")

    def answer(**request):
        status, said = post(asked(request))
        return status, json.loads(said)

    status, said = answer(reload=True)
    assert (status, "start it with FEWSTEP_FOLLOW=champion" in said["message"]) == (400, True)
    assert answer()[1]["predictions"][0]["version"] == 1
    monkeypatch.setenv("FEWSTEP_FOLLOW", "champion")
    assert "trained without labels" in answer(reload=True, label=4)[1]["message"]  # a request to the new version
    (second,) = answer(seed=5)[1]["predictions"]
    assert second["version"] == 2
    assert np.array_equal(decoded(second), other.load().sample(nfe=1, seed=5, indices=range(1))[:, 0])

    rollback(backend, "fewstep-digits")
    source = backend.client().get_model_version("fewstep-digits", "1").source
    weights = Path(source) / "artifacts" / "model" / "model.safetensors"
    weights.rename(weights.with_suffix(".away"))
    status, said = answer(reload=True)
    assert status == 503
    assert "version 2 is still served" in said["message"]
    monkeypatch.delenv("FEWSTEP_FOLLOW")
    assert answer()[1]["predictions"][0]["version"] == 2
    weights.with_suffix(".away").rename(weights)
    monkeypatch.setattr("time.monotonic", lambda now=time.monotonic: now() + 100)
    assert answer()[1]["predictions"][0]["version"] == 2
    monkeypatch.setenv("FEWSTEP_FOLLOW", "champion")
    for _ in range(200):
        (first,) = answer(seed=5)[1]["predictions"]
        if first["version"] == 1:
            break
        time.sleep(0.05)
    assert (first["version"], first["model_sha256"]) == (1, folder.sha256)


@pytest.fixture
def server(backend, tmp_path, finished_model, scores, request):
    """The champion as people start it: (a function of requests -> answers, its process, the model's folder).

    The parameter, if there is one: more of its environment.
    """
    folder = finished_model()
    register(folder, scores(26.0), backend)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["models", "serve", "-m", CHAMPION, "--env-manager", "local", "--port", str(port)]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # mlflow looks for uvicorn there
    environment = {**os.environ, "MLFLOW_TRACKING_URI": backend.uri, "PATH": path, **getattr(request, "param", {})}
    with (tmp_path / "server.log").open("wb") as log:
        command = [sys.executable, "-m", "mlflow", *words]
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)

    def ask(*requests):
        address, kind = f"http://127.0.0.1:{port}/invocations", {"content-type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(address, asked(*requests), kind), timeout=60) as answer:
            return json.load(answer)["predictions"]

    try:
        for _ in range(120):
            with socket.socket() as there:
                if there.connect_ex(("127.0.0.1", port)) == 0:
                    break
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            time.sleep(1)
        yield ask, process, folder
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(20)


@pytest.mark.check
@pytest.mark.parametrize("server", [{"FEWSTEP_FOLLOW": "champion"}], indirect=True)
def test_the_server_as_it_is_started(server, backend, finished_model, scores):
    ask, _, folder = server
    (answer,) = ask({"num_images": 2, "seed": 1})
    assert answer["version"] == 1
    assert np.array_equal(decoded(answer), folder.load().sample(nfe=1, seed=1, indices=range(2))[:, 0])
    with pytest.raises(urllib.error.HTTPError, match="400"):
        ask({"num_images": 10**6})
    register(finished_model(1), scores(20.0), backend)
    force(backend, "fewstep-digits", 2, "better")
    assert ask({"reload": True})[0]["version"] == 2
    assert ask({})[0]["version"] == 2


@pytest.mark.check
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is read from /proc")
def test_two_thousand_requests_sixteen_at_a_time(server):
    ask, process, folder = server
    requests = [{"num_images": 1 + n % 3, "nfe": 1 + n % 2, "seed": n % 100} for n in range(2000)]
    with ThreadPoolExecutor(16) as callers:
        list(callers.map(ask, requests[:200]))
        before = memory_of(process)
        answers = list(callers.map(ask, requests))
    assert memory_of(process) < 1.05 * before
    model, known = folder.load(), {}
    for request, (answer,) in zip(requests, answers, strict=True):
        key = tuple(request.values())
        if key not in known:
            known[key] = model.sample(nfe=request["nfe"], seed=request["seed"], indices=range(request["num_images"]))[
                :, 0
            ]
        assert abs(decoded(answer).astype(int) - known[key]).max() <= 1


def memory_of(process) -> int:
    """Pages of the process and of those in its session."""
    stats = [file.read_text().rpartition(")")[2].split() for file in Path("/proc").glob("[0-9]*/stat")]
    return sum(int(stat[21]) for stat in stats if int(stat[3]) == process.pid)
