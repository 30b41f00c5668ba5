"""An ASGI application for production: requests as for MLflow's server, with limits that hold before they are parsed."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from fewstep.serving.request import MOST_IMAGES, Refusal, Request

MOST_BYTES = 32 * 2**20  # of a body: 256 base64 PNGs of 96 KiB
DISCARDED = 16  # times as much is read of a body that is too large, before the connection is closed
MOST_WAITING = 512  # calls at once, whose bodies have as many bytes together as HELD of the largest; more get a 503
HELD = 16
MOST_VALUES = 2**16  # in a body: JSON of three bytes a value takes a hundred times as much when it is parsed
LONGEST = 300  # characters of a message: it may name a field that the caller has sent
SHAPE = '{"inputs": [{"num_images": 1, "nfe": 1}]}'
# How uvicorn is to run it.
SERVER: dict[str, Any] = {"lifespan": "off", "ws": "none", "log_level": "warning", "access_log": False}
log = logging.getLogger(__name__)

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Refused(Exception):
    """A call that is not answered: its HTTP status, and why."""

    def __init__(self, status: int, message: str):
        super().__init__(message)
        self.status = status


class Application:
    """POST /invocations answers {"inputs": [requests]} with {"predictions": [answers]}; GET /ping says that it is up.

    answer: a list of requests -> a dictionary for each; it runs in a thread of each call. A call that is refused gets
    a status of 400, 413, 415 or 503 and {"message": ...}, and a line in the log.
    """

    def __init__(
        self,
        answer: Callable[[list[Request]], list[dict[str, Any]]],
        most_bytes: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
    ):
        self._answer, self._most_bytes, self._most_waiting = answer, most_bytes, most_waiting
        self._waiting, self._held = 0, 0  # calls, and bytes of their bodies
        self._threads = ThreadPoolExecutor(most_waiting)  # as many as calls: a slow one keeps no other from its turn

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI calls an application; scope is of HTTP."""
        try:
            status, found = 200, await self._respond(scope, receive)
        except Refused as problem:
            status, found = problem.status, _refusal(str(problem))
        except Refusal as problem:
            status, found = problem.get_http_status_code(), _refusal(str(problem.message))
        except Exception:
            log.exception("a request failed: this is a bug")
            status, found = 500, _refusal("the server has failed: its log says why")
        if 400 <= status < 500 or status == 503:
            log.warning("%s: %s", status, found.decode())  # JSON, so that it is one line whatever was sent
        headers = [(b"content-type", b"application/json")]
        if status == 413:
            headers.append((b"connection", b"close"))  # more of the body may come
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": found})

    async def _respond(self, scope: Message, receive: Receive) -> bytes:
        place = scope["method"], scope["path"]
        if place in (("GET", "/ping"), ("GET", "/health")):
            return b"{}"
        if place != ("POST", "/invocations"):
            raise Refused(404, "there is POST /invocations and GET /ping")
        headers = dict(scope["headers"])
        if not headers.get(b"content-type", b"").startswith(b"application/json"):
            raise Refused(415, "the content type must be application/json")
        length = int(headers.get(b"content-length", self._most_bytes))
        with self._place(min(length, self._most_bytes)):
            body = await self._body(length > self._most_bytes, receive)
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._answer_to, body)

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

    def _answer_to(self, body: bytes) -> bytes:
        return json.dumps({"predictions": self._answer(requests_of(body))}).encode()


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


def _refusal(message: str) -> bytes:
    short = message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
    return json.dumps({"message": short}).encode()
