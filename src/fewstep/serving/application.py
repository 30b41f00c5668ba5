"""An ASGI application for production: requests as for MLflow's server, with limits that hold before they are parsed."""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple

from pydantic import ValidationError

from fewstep.serving.api import openapi, page
from fewstep.serving.metrics import KIND as METRICS
from fewstep.serving.metrics import Metrics
from fewstep.serving.most import MOST_BYTES, MOST_IMAGES
from fewstep.serving.request import Refusal, Request

INVOCATIONS = "/invocations"
DISCARDED = 16  # times as much is read of a body that is too large, before the connection is closed
MOST_WAITING = 512  # calls at once, whose bodies have as many bytes together as HELD of the largest; more get a 503
HELD = 16
PATIENCE = 60.0  # seconds for a body to arrive: one that is promised and not sent holds its place until then
MOST_VALUES = 2**16  # in a body: JSON of three bytes a value takes a hundred times as much when it is parsed
LONGEST = 300  # characters of a message: it may name a field that the caller has sent
SHAPE = '{"inputs": [{"num_images": 1, "nfe": 1}]}'
# How uvicorn is to run it.
SERVER: dict[str, Any] = {"lifespan": "off", "ws": "none", "log_level": "warning", "access_log": False}
log = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Answered(NamedTuple):
    """An answer of HTTP. kind: its content type. images: that were made for it."""

    body: bytes
    status: int = 200
    kind: str = "application/json"
    images: int = 0


class Refused(Exception):
    """A call that is not answered: its HTTP status, and why."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Application:
    """POST /invocations answers {"inputs": [requests]} with {"predictions": [answers]}; GET /ping says that it is up.

    answer: a list of requests -> a dictionary for each; it runs in a thread of each call. A call that is refused gets
    a status of 400, 413, 415 or 503 and {"message": ...}, and a line in the log. origins: pages of other servers whose
    scripts may call it, as browsers name them (https://page.example), or "*" for all.

    GET /metrics is for Prometheus; GET /docs and /openapi.json describe the requests.
    """

    def __init__(
        self,
        answer: Callable[[list[Request]], list[dict[str, Any]]],
        most_bytes: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
        origins: Sequence[str] = (),
        patience: float = PATIENCE,
    ):
        self._answer, self._most_bytes, self._most_waiting = answer, most_bytes, most_waiting
        self._patience = patience
        self._origins, self._metrics = {origin.encode() for origin in origins}, Metrics()
        self._waiting, self._held = 0, 0  # calls, and bytes of their bodies
        self._threads = ThreadPoolExecutor(most_waiting)  # as many as calls: a slow one keeps no other from its turn

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI calls an application; scope is of HTTP."""
        started, asked = time.perf_counter(), dict(scope["headers"])
        try:
            found = await self._respond(scope, asked, receive)
        except Refused as problem:
            found = _refusal(problem.status, str(problem))
        except Refusal as problem:
            found = _refusal(problem.get_http_status_code(), str(problem.message))
        except Exception:
            log.exception("a request failed: this is a bug")
            found = _refusal(500, "the server has failed: its log says why")
        if 400 <= found.status < 500 or found.status == 503:
            log.warning("%s: %s", found.status, found.body.decode())  # JSON, so that it is one line whatever was sent
        if scope["path"] == INVOCATIONS and scope["method"] == "POST":
            self._metrics.count(found.status, time.perf_counter() - started, found.images)
        headers = [(b"content-type", found.kind.encode()), *self._cross_origin(asked.get(b"origin"))]
        if found.status in (408, 413):
            headers.append((b"connection", b"close"))  # more of the body may come
        await send({"type": "http.response.start", "status": found.status, "headers": headers})
        await send({"type": "http.response.body", "body": found.body})

    def _cross_origin(self, origin: bytes | None) -> list[tuple[bytes, bytes]]:
        """Headers that let a page of another server read the answer, if it may."""
        varies = [(b"vary", b"origin")] if self._origins else []
        if origin is None or not self._origins & {origin, b"*"}:
            return varies
        allowed = {b"origin": origin, b"methods": b"GET, POST", b"headers": b"content-type"}
        return [*varies, *((b"access-control-allow-" + name, value) for name, value in allowed.items())]

    async def _respond(self, scope: Message, headers: dict[bytes, bytes], receive: Receive) -> Answered:
        method, path = scope["method"], scope["path"]
        if method == "OPTIONS":  # what a browser asks before a page of another server may post
            return Answered(b"", status=204)
        if method in ("GET", "HEAD") and path in self._pages:
            return self._pages[path]()
        if (method, path) != ("POST", INVOCATIONS):
            raise Refused(404, f"there is POST {INVOCATIONS}, and GET {', '.join(self._pages)}")
        if not headers.get(b"content-type", b"").startswith(b"application/json"):
            raise Refused(415, "the content type must be application/json")
        length = int(headers.get(b"content-length", self._most_bytes))
        with self._place(min(length, self._most_bytes)):
            try:
                async with asyncio.timeout(self._patience):
                    body = await self._body(length > self._most_bytes, receive)
            except TimeoutError:
                raise Refused(408, f"a body must arrive within {self._patience:g} seconds") from None
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer_to, body)

    @property
    def _pages(self) -> dict[str, Callable[[], Answered]]:
        """What can be read: {path: what answers}."""
        now = {"waiting_calls": self._waiting, "held_bytes": self._held}
        up, docs = (lambda: Answered(b"{}")), (lambda: Answered(page().encode(), kind="text/html; charset=utf-8"))
        return {
            "/ping": up,
            "/health": up,
            "/metrics": lambda: Answered(self._metrics.text(now).encode(), kind=METRICS),
            "/openapi.json": lambda: Answered(json.dumps(openapi()).encode()),
            "/docs": docs,
            "/": docs,
        }

    @contextmanager
    def _place(self, size: int) -> Generator[None]:
        """Room for a call whose body has so many bytes. Raises Refused where there is none."""
        if self._waiting >= self._most_waiting or self._held + size > HELD * self._most_bytes:
            raise Refused(503, f"{self._waiting} calls are waiting: ask again later")
        self._waiting, self._held = self._waiting + 1, self._held + size
        try:
            yield
        finally:
            self._waiting, self._held = self._waiting - 1, self._held - size

    async def _body(self, too_large: bool, receive: Receive) -> bytes:
        """The body. Of one beyond the limit nothing is kept; it is read on, so that its sender gets to the answer."""
        parts, size, more = [], 0, True
        while more and size <= DISCARDED * self._most_bytes:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise Refused(400, "the caller has gone away")
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
            too_large = too_large or size > self._most_bytes
            if too_large:
                parts.clear()
            else:
                parts.append(message.get("body", b""))
        if too_large:
            raise Refused(413, f"a body must have at most {self._most_bytes:,} bytes")
        return b"".join(parts)

    def _answer_to(self, body: bytes) -> Answered:
        made = self._answer(requests_of(body))
        images = sum(len(each.get("images", each.get("points", ()))) for each in made)
        return Answered(json.dumps({"predictions": made}).encode(), images=images)


def requests_of(body: bytes) -> list[Request]:
    """The requests of a body. Raises Refused for one that is no JSON, or no list of requests."""
    if (values := sum(body.count(mark) for mark in (b",", b"[", b"{"))) > MOST_VALUES:
        raise Refused(400, f"a body must have at most {MOST_VALUES:,} values, got {values:,}")
    try:
        content = json.loads(body)
    except RecursionError:
        raise Refused(400, "the body must not be nested so deeply") from None
    except (json.JSONDecodeError, UnicodeDecodeError) as problem:
        raise Refused(400, f"the body must be JSON: {problem}") from None
    except ValueError:
        raise Refused(400, "a number in the body has too many digits") from None
    inputs = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(inputs, list) or not all(isinstance(request, dict) for request in inputs):
        raise Refused(400, f"the body must be a list of requests such as {SHAPE}")
    if len(inputs) > MOST_IMAGES:
        raise Refused(400, f"one call must have at most {MOST_IMAGES} requests, got {len(inputs):,}")
    try:
        return [Request.model_validate(request) for request in inputs]
    except ValidationError:  # values are looked at later, each by itself
        raise Refused(400, "the names of fields must be text, without halves of surrogate pairs") from None


def _refusal(status: int, message: str) -> Answered:
    short = message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
    return Answered(json.dumps({"message": short}).encode(), status)
