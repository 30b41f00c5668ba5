"""The names that a server answers to.

A page on the web can give its own name the address of loopback (DNS rebinding), so that a browser lets its scripts call
the servers of this machine, and read what they answer. The Host header of such a call has the page's name.
"""

import errno
import ipaddress
import json
import logging
import re
import socket
from collections.abc import Awaitable, Callable, Collection
from typing import Any

from fewstep.support.errors import InvalidInput, reason_of

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
NAME = r"[\w.-]+|\[[0-9a-f:.]+\]"
HEADER = re.compile(rf"({NAME})(?::\d*)?")
log = logging.getLogger(__name__)


def known_hosts(address: str, more: Collection[str] = ()) -> frozenset[str] | None:
    """The names of a server that listens at an address; None for any: beyond loopback only `more` says which.

    Raises ValueError for a name that no call can have.
    """
    for name in more:
        if not re.fullmatch(NAME, name):
            raise InvalidInput.of("--allowed-host", name, "the name of a host, without http:// and without a port")
    if not more and not _is_loopback(address):
        return None
    return frozenset(name.lower() for name in (*LOOPBACK, address, *more))


def check_port(address: str, port: int) -> None:
    """Raise ValueError where a server cannot listen, before a model is loaded for it."""
    try:
        family = socket.getaddrinfo(address, port)[0][0]
        with socket.create_server((address, port), family=family):
            pass
    except OSError as problem:
        reason = "another program listens there" if problem.errno == errno.EADDRINUSE else reason_of(problem)
        raise InvalidInput(f"{address}:{port} cannot be served ({reason}): choose another --port or --host.") from None


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class KnownHosts:
    """An ASGI application behind a look at the Host header: calls by another name get a status of 403.

    hosts: as known_hosts has them. Calls without a name are answered: browsers always send one.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], hosts: frozenset[str] | None):
        self.app, self.hosts = app, hosts

    async def __call__(self, scope: dict[str, Any], receive: Callable[..., Any], send: Callable[..., Any]) -> None:
        """As ASGI calls an application."""
        host = dict(scope.get("headers", ())).get(b"host", b"").decode("latin-1").lower()
        found = HEADER.fullmatch(host)
        if not host or self.hosts is None or (found and found[1] in self.hosts):
            await self.app(scope, receive, send)
            return
        words = f"this server does not answer to the name {host[:100]!r}: if it is yours, start it with --allowed-host"
        log.warning("403: %s", words)
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 403, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps({"message": words}).encode()})
