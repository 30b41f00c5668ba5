"""The application for production on a real server: limits, refusals, and many callers."""

import http.client
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import uvicorn

from fewstep.serving.application import Application, Refused, requests_of
from fewstep.serving.generator import Generator

pytestmark = pytest.mark.slow
LIMIT = 2**20


@pytest.fixture
def port(finished_model):
    """Where a model is served on loopback."""
    generator = Generator().serve(finished_model(labels=True).load())
    application = Application(lambda requests: generator.predict(None, requests), LIMIT)
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    thread.join(20)


def post(port, body, kind="application/json", path="/invocations", method="POST"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, body, {"content-type": kind})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def asked(*requests):
    return json.dumps({"inputs": list(requests)}).encode()


def test_it_answers_as_mlflows_server_does(port):
    status, found = post(port, asked({"num_images": 2, "nfe": 2, "seed": 3, "label": 4}, {}))
    assert status == 200
    first, second = found["predictions"]
    assert (len(first["images"]), first["nfe"], first["seed"], first["label"]) == (2, 2, 3, 4)
    assert len(second["images"]) == 1
    assert post(port, None, path="/ping", method="GET") == (200, {})


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        (b"[" * 5000 + b"]" * 5000, 400, "nested so deeply"),
        (b'{"inputs": ' + b"9" * 100_000 + b"}", 400, "must be JSON"),
        (b"x" * (LIMIT + 1), 413, "at most 1,048,576 bytes"),
        (b" " * 10 * LIMIT, 413, "at most 1,048,576 bytes"),
        (b'{"inputs": [{"' + b"x" * (LIMIT // 2) + b'": 1}]}', 400, "no field"),
        (b"not json", 400, "must be JSON"),
        (b"\xff\xfe", 400, "must be JSON"),
        (b'{"inputs": {"nfe": 1}}', 400, "a list of requests"),
        (b'{"inputs": [1]}', 400, "a list of requests"),
        (b'{"instances": []}', 400, "a list of requests"),
        (asked({"num_images": 0}), 400, "num_images must be between 1 and 256, got 0"),
        (asked({"label": 10}), 400, "label must be the name or the number of a class, got 10. Classes: 0, 1,"),
        (asked({"edit": {"task": "inpaint", "images": ["x"]}}), 400, "image 1 must be a PNG in base64"),
    ],
)
def test_a_bad_request_is_a_short_sentence(port, body, status, words):
    found = post(port, body)
    assert found[0] == status and words in found[1]["message"]
    assert len(found[1]["message"]) < 400


def test_other_contents_and_places_are_refused(port):
    assert post(port, b"seed\n1\n", "text/csv")[0] == 415
    assert post(port, asked({}), path="/elsewhere")[0] == 404


def test_a_body_without_a_length_is_read_up_to_the_limit(port):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    chunks = (b" " * 2**16 for _ in range(200))
    connection.request("POST", "/invocations", chunks, {"content-type": "application/json"}, encode_chunked=True)
    assert connection.getresponse().status == 413


def test_many_callers_beside_large_ones_are_all_answered(port):
    with ThreadPoolExecutor(12) as callers:
        large = [callers.submit(post, port, asked({"num_images": 256, "nfe": 4, "seed": n})) for n in range(2)]
        small = [callers.submit(post, port, asked({"seed": n})) for n in range(20)]
        bad = [callers.submit(post, port, asked({"nfe": 65})) for _ in range(10)]
        assert {each.result()[0] for each in (*large, *small)} == {200}
        assert {each.result()[0] for each in bad} == {400}


def test_more_calls_than_it_holds_are_refused():
    free = threading.Event()
    application = Application(lambda requests: free.wait(20) and [], most_waiting=1)
    server = uvicorn.Server(uvicorn.Config(application, port=0, lifespan="off", log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    with ThreadPoolExecutor(1) as callers:
        first = callers.submit(post, port, asked({}))
        while not application._waiting:
            time.sleep(0.01)
        assert post(port, asked({}))[0] == 503
        free.set()
        assert first.result() == (200, {"predictions": []})
    server.should_exit = True
    thread.join(20)


def test_requests_keep_their_own_mistakes():
    (request,) = requests_of(b'{"inputs": [{"nfe": "two"}]}')
    assert "whole number" in request.nfe
    with pytest.raises(Refused, match="must be JSON"):
        requests_of(b"{")
