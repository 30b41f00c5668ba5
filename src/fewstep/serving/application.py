"""An ASGI application for production: requests as for MLflow's server, with limits that hold before they are parsed."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from typing import Any

from fewstep.serving.request import Refusal, Request

MOST_BYTES = 32 * 2**20  # of a body: 256 base64 PNGs of 96 KiB
DISCARDED = 16  # times as much is read of a body that is too large, before the connection is closed
MOST_WAITING = 64  # calls at once; more are answered with 503
LONGEST = 300  # characters of a message: it may name a field that the caller has sent
SHAPE = '{"inputs": [{"num_images": 1, "nfe": 1}]}'
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

    answer: a list of requests -> a dictionary for each; it runs in a thread. A call that is refused gets a status of
    400, 413, 415 or 503 and {"message": ...}, and a line in the log.
    """

    def __init__(
        self,
        answer: Callable[[list[Request]], list[dict[str, Any]]],
        most_bytes: int = MOST_BYTES,
        most_waiting: int = MOST_WAITING,
    ):
        self._answer, self._most_bytes, self._most_waiting = answer, most_bytes, most_waiting
        self._waiting = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """As ASGI calls an application; scope is of HTTP."""
        try:
            status, found = 200, await self._respond(scope, receive)
        except Refused as problem:
            status, found = problem.status, {"message": _short(str(problem))}
        except Refusal as problem:
            status, found = problem.get_http_status_code(), {"message": _short(str(problem.message))}
        except Exception:
            log.exception("a request failed: this is a bug")
            status, found = 500, {"message": "the server has failed: its log says why"}
        if 400 <= status < 500 or status == 503:
            log.warning("%s: %s", status, found["message"])
        headers = [(b"content-type", b"application/json")]
        if status == 413:
            headers.append((b"connection", b"close"))  # more of the body may come
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(found).encode()})

    async def _respond(self, scope: Message, receive: Receive) -> dict[str, Any]:
        place = scope["method"], scope["path"]
        if place in (("GET", "/ping"), ("GET", "/health")):
            return {}
        if place != ("POST", "/invocations"):
            raise Refused(404, "there is POST /invocations and GET /ping")
        headers = dict(scope["headers"])
        if not headers.get(b"content-type", b"").startswith(b"application/json"):
            raise Refused(415, "the content type must be application/json")
        if self._waiting >= self._most_waiting:
            raise Refused(503, f"{self._most_waiting} calls are waiting: ask again later")
        self._waiting += 1
        try:
            requests = requests_of(await self._body(headers, receive))
            return {"predictions": await asyncio.to_thread(self._answer, requests)}
        finally:
            self._waiting -= 1

    async def _body(self, headers: dict[bytes, bytes], receive: Receive) -> bytes:
        """The body. Of one beyond the limit nothing is kept; it is read on, so that its sender gets to the answer."""
        parts, size, more = [], 0, True
        too_large = int(headers.get(b"content-length", b"0")) > self._most_bytes
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


def requests_of(body: bytes) -> list[Request]:
    """The requests of a body. Raises Refused for one that is no JSON, or no list of requests."""
    try:
        content = json.loads(body)
    except RecursionError:
        raise Refused(400, "the body must not be nested so deeply") from None
    except ValueError as problem:  # a number of too many digits is one too
        raise Refused(400, f"the body must be JSON: {problem}") from None
    inputs = content.get("inputs") if isinstance(content, dict) else None
    if not isinstance(inputs, list) or not all(isinstance(request, dict) for request in inputs):
        raise Refused(400, f"the body must be a list of requests such as {SHAPE}")
    return [Request.model_validate(request) for request in inputs]


def _short(message: str) -> str:
    return message if len(message) <= LONGEST else f"{message[:LONGEST]} ..."
