"""A model that is pushed is loaded by name and revision, from a stand-in of the Hugging Face Hub's HTTP API."""

import base64
import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote

import numpy as np
import pytest
import yaml
from click.testing import CliRunner

import fewstep
from fewstep.cli import main
from fewstep.exchange.hub_repository import Repository, pull, push
from fewstep.registry import register
from fewstep.support.errors import InvalidInput, Unreachable

pytest.importorskip("huggingface_hub", reason="of requirements-extras.lock")
pytestmark = pytest.mark.slow
TOKEN = "hf_of_a_test"


class Hub(ThreadingHTTPServer):
    """Repositories in memory: {name: {commit: {path: content}}}, the newest commit last."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories, self.unknown, self.status = {}, [], None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        if self.server.status:
            return self.answer(self.server.status, {})
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401, {"error": "Invalid credentials"})
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}" if asked.get("organization") else asked["name"]
            self.server.repositories.setdefault(name, {})
            return self.answer(200, {"url": f"{self.server.address}/{name}"})
        if self.path == "/api/validate-yaml":
            return self.answer(200, {"errors": [], "warnings": []})
        if found := re.fullmatch(r"/api/models/(.+)/(preupload|commit)/(.+)", self.path):
            return self.preupload(body) if found[2] == "preupload" else self.commit(found[1], body)
        return self.not_known()

    def preupload(self, body):
        files = json.loads(body)["files"]
        return self.answer(200, {"files": [{**f, "uploadMode": "regular", "shouldIgnore": False} for f in files]})

    def commit(self, name, body):
        lines = [json.loads(line)["value"] for line in body.splitlines() if json.loads(line)["key"] == "file"]
        files = {line["path"]: base64.b64decode(line["content"]) for line in lines}
        commit = hashlib.sha1(body).hexdigest()
        before = list(self.server.repositories[name].values())[-1:]
        self.server.repositories[name][commit] = {**(before[0] if before else {}), **files}
        place = f"{self.server.address}/{name}/commit/{commit}"
        return self.answer(200, {"success": True, "commitOid": commit, "commitUrl": place, "hookOutput": ""})

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = unquote(self.path.partition("?")[0])
        if self.server.status:
            return self.answer(self.server.status, {})
        if self.headers.get("Authorization") not in (None, f"Bearer {TOKEN}"):
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)(?:/revision/(.+))?", path):
            return self.info(found[1], found[2] or "main")
        if found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/tree/([^/]+)", path):
            return self.tree(found[1], found[2])
        if found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            return self.file(*found.groups())
        return self.not_known()

    def tree(self, name, revision):
        files = self.server.repositories[name][self.commit_of(name, revision)]
        found = [
            {"type": "file", "path": p, "size": len(c), "oid": hashlib.sha1(c).hexdigest()} for p, c in files.items()
        ]
        return self.answer(200, found)

    def commit_of(self, name, revision):
        commits = list(self.server.repositories.get(name, {}))
        return (
            commits[-1]
            if revision == "main" and commits
            else next((commit for commit in commits if commit.startswith(revision)), None)
        )

    def info(self, name, revision):
        if name not in self.server.repositories:
            return self.answer(404, {}, {"X-Error-Code": "RepoNotFound"})
        if not (commit := self.commit_of(name, revision)):
            return self.answer(404, {}, {"X-Error-Code": "RevisionNotFound"})
        files = self.server.repositories[name][commit]
        return self.answer(200, {"id": name, "sha": commit, "siblings": [{"rfilename": path} for path in files]})

    def file(self, name, revision, path):
        commit = self.commit_of(name, revision)
        content = self.server.repositories[name][commit].get(path)
        if content is None:
            return self.answer(404, {}, {"X-Error-Code": "EntryNotFound"})
        about = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        return self.answer(200, content, about)

    def not_known(self):
        self.server.unknown.append(f"{self.command} {self.path}")
        return self.answer(404, {})

    def answer(self, status, content, headers=None):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A server, a token for it, and a cache of one's own."""
    from huggingface_hub import constants

    with Hub() as server:
        Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("HF_ENDPOINT", server.address)
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        yield server
        server.shutdown()
        assert server.unknown == []


@pytest.fixture
def registered(here, backend, finished_model, scores, monkeypatch):
    """A project whose champion is a student of digits."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    saved = finished_model()
    register(saved, scores(26.0), backend)
    return saved


def typed(*words: str) -> tuple[int, str]:
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.output


def test_what_is_pushed_is_loaded_by_name_and_by_revision(hub, registered):
    code, told = typed("push", "me/digits", "--license", "cc-by-4.0")
    assert code == 0, told
    (commit,) = hub.repositories["me/digits"]
    assert f'fewstep.load("hf:me/digits@{commit[:12]}")' in told
    files = hub.repositories["me/digits"][commit]
    assert files.keys() >= {"model.json", "model.safetensors", "README.md", "samples.png"}
    _, front, body = files["README.md"].decode().split("---\n", 2)
    about = yaml.safe_load(front)
    assert (about["license"], about["library_name"]) == ("cc-by-4.0", "fewstep")
    assert about["model-index"][0]["results"][0]["metrics"][0]["value"] == 26.0
    for words in ("# cd on digits", "![samples", 'fewstep.load("hf:me/digits")', "| 1 | 1 | 26 |", "**Limits**"):
        assert words in body
    assert "](#/" not in body  # links into MLflow
    expected = registered.load().sample(4, nfe=1, seed=0)
    for place in ("hf:me/digits", f"hf:me/digits@{commit}"):
        assert np.array_equal(fewstep.load(place).sample(4, nfe=1, seed=0), expected)


def test_a_revision_stays_what_it_was(hub, finished_model, tmp_path):
    repository = Repository.read("me/digits")
    first = push(finished_model(0).folder, repository, "first")
    push(finished_model(1).folder, repository, "second")
    assert pull(f"hf:me/digits@{first}").sha256 == finished_model(0).sha256
    assert pull("hf:me/digits").sha256 == finished_model(1).sha256


def test_weights_that_were_changed_are_refused(hub, finished_model):
    commit = push(finished_model().folder, Repository.read("me/digits"), "first")
    files = hub.repositories["me/digits"][commit]
    files["model.safetensors"] = (finished_model(1).folder / "model.safetensors").read_bytes()
    with pytest.raises(InvalidInput, match="its hash differs"):
        fewstep.load("hf:me/digits")


def test_what_the_hub_refuses_is_said_in_words(hub, finished_model, monkeypatch):
    folder, repository = finished_model().folder, Repository.read("me/digits")
    push(folder, repository, "first")
    hub.repositories["me/empty"] = {"a" * 40: {"other.txt": b"x"}}
    for place, message in {
        "hf:me/digts": "there is no me/digts at http://127.0.0.1:.*, or it is private",
        "hf:me/digits@v2": "me/digits at .* has no revision 'v2'",
        "hf:me/empty": "is not a finished model: model.json is missing",
        "hf:digits": "must be named owner/name, or owner/name@revision, got 'hf:digits'",
    }.items():
        with pytest.raises(InvalidInput, match=message):
            pull(place)
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(InvalidInput, match=r"me/digits cannot be written at .*HF_TOKEN, or run: hf auth login"):
        push(folder, repository, "second")


def test_a_hub_that_is_away_is_said_in_words(hub, finished_model, monkeypatch):
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(Unreachable, match=r"me/digits cannot be read: http://127.0.0.1:9 does not answer"):
        pull("hf:me/digits")
    with pytest.raises(Unreachable, match=r"me/digits cannot be written: http://127.0.0.1:9 does not answer"):
        push(finished_model().folder, Repository.read("me/digits"), "first")


def test_a_folder_needs_scores_of_its_own_for_its_card(hub, here, finished_model, scores, tmp_path):
    saved, file = finished_model(), tmp_path / "scores.json"
    code, told = typed("push", "me/digits", "--model", str(saved.folder))
    assert code == 1 and "needs scores" in told
    file.write_text(json.dumps(scores(26.0, models={"cd": "0" * 64}).to_json()))
    code, told = typed("push", "me/digits", "--model", str(saved.folder), "--scores", str(file))
    assert code == 1 and "has scores of another model" in told
    file.write_text(json.dumps(scores(26.0, models={"cd": saved.sha256}).to_json()))
    words = ("push", "me/digits", "--model", str(saved.folder), "--scores", str(file), "--to", str(tmp_path / "out"))
    code, told = typed(*words)
    assert code == 0 and "nothing is sent" in told and hub.repositories == {}, told
    assert (tmp_path / "out" / "README.md").exists()
    code, told = typed(*words)
    assert code == 1 and "already exists" in told
