"""Memory: what a network's passes free and ask for again, and what is said where there is too little."""

import ctypes
import re
import sys
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import torch

from fewstep.support.errors import OutOfMemory

MMAP_THRESHOLD, TRIM_THRESHOLD, ARENA_MAX = -3, -1, -8  # of glibc's mallopt
PIECE, REST = 2**30, 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, in pieces up to 1 GiB, and say whether it does: glibc alone is told.

    Otherwise glibc gives activations back to the system after each pass, and the next one spends up to a third of its
    time on the page faults that bring them back: docs/results.md.
    """
    return _tell_glibc(MMAP_THRESHOLD, PIECE) and _tell_glibc(TRIM_THRESHOLD, REST)


def share_freed_memory() -> bool:
    """Have what one thread of this process frees used by the others, and say whether it is: glibc alone is told.

    Otherwise each of a server's threads keeps the most that it ever needed.
    """
    return _tell_glibc(ARENA_MAX, 1)


def _tell_glibc(option: int, value: int) -> bool:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(option, value))


def peak_memory(device: torch.device) -> int | None:
    """The most bytes that tensors had on a GPU, or this process in all without one; None where that is unknown."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    status = Path("/proc/self/status")  # Linux; getrusage would tell of the process that started this one, if more
    found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.exists() else None
    return 1024 * int(found[1]) if found else None


@contextmanager
def naming_lack_of_memory(what: str, advice: str) -> Generator[None]:
    """Raise OutOfMemory where there is too little memory for `what`, on the GPU or on the machine.

    advice: what to set, as a sentence.
    """
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        place = "GPU" if isinstance(error, torch.OutOfMemoryError) else "machine"
        raise OutOfMemory(f"the {place} has too little memory for {what}. {advice}") from error
    except RuntimeError as error:
        if "DefaultCPUAllocator" not in str(error):  # PyTorch has no class of its own for this
            raise
        raise OutOfMemory(f"the machine has too little memory for {what}. {advice}") from error
