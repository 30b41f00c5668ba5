"""How processes end: by a signal as by an exception, and with those that they started."""

import signal
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

# Reads what never comes; the system closes the pipe when its other end is gone, however that ended.
WATCH = """
import os, sys
sys.stdin.read()
for pid in filter(str.isdecimal, os.listdir("/proc")):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read()
        if int(pid) != os.getpid() and all(mark.encode() in words for mark in sys.argv[1:]):
            os.kill(int(pid), 9)
    except OSError:
        pass
"""
_watches: list["subprocess.Popen[bytes]"] = []  # a pipe that is collected is closed


@contextmanager
def ended_by_sigterm() -> Generator[None]:
    """SIGTERM leaves the block as Ctrl-C does, by an exception, so that whoever is around it can say how it ended."""
    if threading.current_thread() is not threading.main_thread():
        yield  # Python hands signals to the main thread alone
        return

    def leave(*_: object) -> None:
        raise SystemExit(128 + signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_with_this_process(*marks: str) -> None:
    """Kill the processes that have all of these marks in their command lines as soon as this process has ended.

    However it ends: a process of its own waits for that. Only Linux can be asked for command lines so.
    """
    if Path("/proc/self/cmdline").exists():
        words = [sys.executable, "-S", "-E", "-c", WATCH, *marks]
        _watches.append(subprocess.Popen(words, stdin=subprocess.PIPE, start_new_session=True))
