"""The memory that a network's passes free and ask for again."""

import ctypes
import sys
from functools import cache

MMAP_THRESHOLD, TRIM_THRESHOLD = -3, -1  # of glibc's mallopt
PIECE, REST = 2**30, 2**31 - 1


@cache
def keep_freed_memory() -> bool:
    """Have this process keep what it frees, in pieces up to 1 GiB, and say whether it does: glibc alone is told.

    Otherwise glibc gives activations back to the system after each pass, and the next one spends up to a third of its
    time on the page faults that bring them back: docs/results.md.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    return mallopt is not None and bool(mallopt(MMAP_THRESHOLD, PIECE) and mallopt(TRIM_THRESHOLD, REST))
