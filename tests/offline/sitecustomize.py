"""Cuts a Python process and its children off from what is beyond the machine, and writes down each attempt."""

import ipaddress
import os
import socket


def record(line: str):
    with open(os.environ["ATTEMPTS"], "a") as log:
        log.write(line + "\n")


def check(host, call: str):
    host = host.decode() if isinstance(host, bytes) else host
    if host in (None, "", "localhost", socket.gethostname()):
        return
    try:
        if ipaddress.ip_address(host).is_loopback or ipaddress.ip_address(host).is_unspecified:
            return
    except ValueError:
        pass
    record(f"{call} {host}")
    raise OSError(f"cut off: {call} {host}")


def guarded(name: str):
    original = getattr(socket.socket, name)

    def call(self, *args):
        if self.family in (socket.AF_INET, socket.AF_INET6) and isinstance(args[-1], tuple):
            check(args[-1][0], name)
        return original(self, *args)

    setattr(socket.socket, name, call)


if "ATTEMPTS" in os.environ:
    for method in ("connect", "connect_ex", "sendto"):
        guarded(method)
    resolve = socket.getaddrinfo

    def getaddrinfo(host, *args, **kwargs):
        check(host, "getaddrinfo")
        return resolve(host, *args, **kwargs)

    socket.getaddrinfo = getaddrinfo
    record("watching")
