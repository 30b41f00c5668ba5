"""The memory of a process, as the benchmarks tell it."""

import re
from pathlib import Path
from typing import Any


def peak_bytes() -> int:
    """The most that this process has held; getrusage would tell that of the process which started it, if more."""
    return _bytes("VmHWM")


def reset_peak() -> int:
    """Let peak_bytes begin anew: what this process holds now."""
    Path("/proc/self/clear_refs").write_text("5")
    return _bytes("VmRSS")


def _bytes(name: str) -> int:
    found: Any = re.search(rf"{name}:\s+(\d+)", Path("/proc/self/status").read_text())
    return 1024 * int(found[1])
