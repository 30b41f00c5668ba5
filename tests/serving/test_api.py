"""What the server says of itself: OpenAPI, a page, counts for Prometheus; and its client."""

import http.client
import json
import re

import numpy as np
import pytest

from fewstep.serving.api import openapi, page
from fewstep.serving.application import Application
from fewstep.serving.client import Client
from fewstep.serving.metrics import Metrics
from fewstep.serving.request import Request
from fewstep.support.errors import InvalidInput, Unreachable


def get(port, path, method="GET", **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    answer = connection.getresponse()
    return answer, answer.read().decode()


def test_the_description_has_every_field_of_a_request():
    found = openapi()["components"]["schemas"]
    assert found["Request"]["properties"].keys() == Request.model_fields.keys()
    assert found["Request"]["properties"]["num_images"]["maximum"] == 256
    references = re.findall(r'"#/components/schemas/(\w+)"', json.dumps(openapi()))
    assert set(references) <= found.keys() and "EditRequest" in references


def test_the_page_names_every_field_and_asks_nothing_of_others():
    assert [name for name in Request.model_fields if f"<code>{name}</code>" not in page()] == []
    assert not re.search(r"(src|href)=\"?(https?:)?//", page()) and "@import" not in page()
    assert "{rows}" not in page() and "{limits}" not in page()


def test_counts_are_lines_that_prometheus_reads():
    metrics = Metrics()
    for status, seconds, images in ((200, 0.03, 4), (200, 3.0, 2), (400, 0.001, 0)):
        metrics.count(status, seconds, images)
    text = metrics.text({"waiting_calls": 1})
    for line in text.splitlines():
        assert re.fullmatch(r'# (HELP|TYPE) fewstep_\w+ .+|fewstep_\w+(\{\w+="[^"]+"\})? [\d.e+-]+', line), line
    assert 'fewstep_calls_total{status="200"} 2' in text and "fewstep_images_total 6" in text
    buckets = [int(number) for number in re.findall(r"_bucket\{.*\} (\d+)", text)]
    assert buckets == sorted(buckets) and buckets[-1] == 3
    assert "fewstep_waiting_calls 1\n" in text


@pytest.fixture
def page_may_call(start):
    """A server that answers with points, and that the scripts of one page may call."""
    return start(Application(lambda asked: [{"points": [[0.0, 1.0]]} for _ in asked], origins=["https://page.example"]))


def test_pages_and_counts_are_served(page_may_call):
    for path, kind in (("/docs", "text/html"), ("/", "text/html"), ("/openapi.json", "application/json")):
        answer, text = get(page_may_call, path)
        assert answer.status == 200 and answer.headers["content-type"].startswith(kind) and text
    Client(f"http://127.0.0.1:{page_may_call}").ask({}, {})
    answer, text = get(page_may_call, "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'fewstep_calls_total{status="200"} 1' in text and "fewstep_images_total 2" in text


def test_only_pages_that_were_named_may_read_an_answer(page_may_call, start):
    allowed, other = {"origin": "https://page.example"}, {"origin": "https://evil.example"}
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    answer, _ = get(page_may_call, "/invocations", "OPTIONS", **allowed, **asked)
    assert answer.status == 204 and answer.headers["access-control-allow-origin"] == "https://page.example"
    assert answer.headers["access-control-allow-headers"] == "content-type" and answer.headers["vary"] == "origin"
    answer, _ = get(page_may_call, "/ping", **other)
    assert "access-control-allow-origin" not in answer.headers
    everybody = start(Application(lambda asked: [], origins=["*"]))
    assert get(everybody, "/ping", **other)[0].headers["access-control-allow-origin"] == "https://evil.example"
    nobody = start(Application(lambda asked: []))
    assert "access-control-allow-origin" not in get(nobody, "/ping", **allowed)[0].headers


@pytest.mark.slow
def test_the_client_gets_the_pictures_of_the_model(serve, finished_model):
    client = Client(f"http://127.0.0.1:{serve(2**20)}")
    made = client.sample(3, nfe=2, seed=5, label="4")
    expected = finished_model(labels=True).load().sample(3, nfe=2, seed=5, labels=[4] * 3)
    assert [np.abs(np.asarray(a, int) - b[0]).max() <= 1 for a, b in zip(made, expected, strict=True)] == [True] * 3
    with pytest.raises(InvalidInput, match="nfe must be between 1 and 64, got 65"):
        client.sample(nfe=65)


def test_the_client_says_that_nobody_answers_and_that_points_are_no_pictures(page_may_call):
    with pytest.raises(Unreachable, match=r"127.0.0.1:9 does not answer"):
        Client("http://127.0.0.1:9").sample()
    with pytest.raises(InvalidInput, match="points, not pictures"):
        Client(f"http://127.0.0.1:{page_may_call}").sample()
