"""The application for production on a real server: limits, refusals, and many callers."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from fewstep.serving.application import HELD, MOST_VALUES, Application, Refused, requests_of

pytestmark = pytest.mark.slow
LIMIT = 2**20


@pytest.fixture
def port(serve):
    """Where a model is served on loopback."""
    return serve(LIMIT)


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
        (b'{"inputs": ' + b"9" * 100_000 + b"}", 400, "too many digits"),
        (b'{"inputs": [' + b"{}," * MOST_VALUES + b"{}]}", 400, "a body must have at most 65,536 values, got 131,"),
        (asked({"\ud800": 1}), 400, "the names of fields must be text"),
        (asked(*[{}] * 257), 400, "one call must have at most 256 requests, got 257"),
        (asked({"seed": 10**400}), 400, "seed must be at most 1e+18, got 1000"),
        (asked({"edit": {"task": "interpolate", "to": -(10**19)}}), 400, "edit.to must be at least -1e+18, got -1000"),
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
        (asked({"edit": {"task": "inpaint", "images": ["\u00e9"]}}), 400, "image 1 must be a PNG in base64"),
    ],
)
def test_a_bad_request_is_a_short_sentence(port, body, status, words):
    found = post(port, body)
    assert found[0] == status and words in found[1]["message"]
    assert len(found[1]["message"]) < 400


def test_other_contents_and_places_are_refused(port):
    assert post(port, b"seed\n1\n", "text/csv")[0] == 415
    assert post(port, asked({}), path="/elsewhere")[0] == 404


def test_a_web_socket_is_not_opened(port, caplog):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    asks = {"upgrade": "websocket", "connection": "upgrade", "sec-websocket-version": "13", "sec-websocket-key": "x"}
    connection.request("GET", "/invocations", headers=asks)
    assert connection.getresponse().status == 404
    assert not any(record.exc_info for record in caplog.records)


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


@pytest.mark.parametrize(("limits", "fits"), [({"most_waiting": 1}, 1), ({"most_bytes": len(asked({}))}, HELD)])
def test_more_calls_or_bytes_than_it_holds_are_refused(start, limits, fits):
    free = threading.Event()
    port = start(application := Application(lambda requests: free.wait(20) and [], **limits))
    with ThreadPoolExecutor(fits) as callers:
        held = [callers.submit(post, port, asked({})) for _ in range(fits)]
        while application._waiting < fits:
            time.sleep(0.01)
        assert post(port, asked({}))[0] == 503
        free.set()
        assert {each.result()[0] for each in held} == {200}


def test_a_body_that_does_not_come_holds_its_place_no_longer_than_that(start):
    port = start(Application(lambda requests: [], LIMIT, patience=0.3))
    head = f"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {LIMIT}\r\n\r\n"
    with ExitStack() as stack:
        silent = [stack.enter_context(socket.create_connection(("127.0.0.1", port), 20)) for _ in range(HELD)]
        for each in silent:
            each.sendall(head.encode())
        assert all(each.recv(12) == b"HTTP/1.1 408" for each in silent)
    assert post(port, asked())[0] == 200


def test_as_many_calls_as_it_holds_are_made_at_once(start):
    """A slow one keeps no thread from the others, however few processors there are."""
    everyone = threading.Barrier(40)
    port = start(Application(lambda requests: everyone.wait(20) is None or []))
    with ThreadPoolExecutor(40) as callers:
        assert {each.result()[0] for each in [callers.submit(post, port, asked({})) for _ in range(40)]} == {200}


def test_whatever_is_sent_is_one_line_of_the_log(port, caplog):
    status, found = post(port, asked({"label": "one\ntwo\ud800"}))
    assert status == 400 and "one" in found["message"]
    assert [record.getMessage().isprintable() for record in caplog.records] == [True]


def test_requests_keep_their_own_mistakes():
    (request,) = requests_of(b'{"inputs": [{"nfe": "two"}]}')
    assert "whole number" in request.nfe
    with pytest.raises(Refused, match="must be JSON"):
        requests_of(b"{")
