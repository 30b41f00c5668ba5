"""Any number of samples, made batch by batch: as one array, or in a file, with memory for one batch only."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fewstep.data.space import DataSpace
from fewstep.data.store import DTYPES
from fewstep.support.checks import at_least, check_value, up_to, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.memory import naming_lack_of_memory


def in_batches(
    generate: Callable[[np.ndarray], np.ndarray],
    count: int,
    batch_size: int,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Samples 0 to count - 1 of a function of indices, as one array. on_progress(done, count)."""
    made = []
    for stop, samples in batches(generate, 0, count, batch_size):
        made.append(samples)
        if on_progress:
            on_progress(stop, count)
    return np.concatenate(made)


def batches(
    generate: Callable[[np.ndarray], np.ndarray], first: int, count: int, batch_size: int
) -> Iterator[tuple[int, np.ndarray]]:
    """Samples from the first on, up to count - 1, in batches, each with the index after its last.

    A batch that does not fit into the memory of the device is halved, as often as it takes, and so are all after it.
    Raises OutOfMemory where a single sample does not fit.
    """
    while first < count:
        stop = min(first + batch_size, count)
        with naming_lack_of_memory("a single sample", "Free some of it, or sample on a larger device."):
            try:
                samples = generate(np.arange(first, stop))
            except torch.OutOfMemoryError:
                if stop - first == 1:
                    raise
                batch_size = (stop - first) // 2
                continue
        assert len(samples) == stop - first, (len(samples), first, stop)
        yield stop, samples
        first = stop


def stream(
    generate: Callable[[np.ndarray], np.ndarray],
    space: DataSpace,
    count: int,
    path: Path | str,
    made_by: dict[str, Any],
    batch_size: int = 256,
    on_progress: Callable[[int, int], None] | None = None,
) -> np.ndarray:
    """Samples 0 to count - 1 in an .npy file, batch by batch: the finished file, mapped.

    generate: indices -> stored values, uint8 [B, C, H, W] or float32 [B, D], where a sample is a function of its index.
    made_by: everything else that it depends on, ready for JSON. A later call with the same count and made_by continues
    an interrupted one, whatever the batch size. An existing file is replaced at the end. Raises ValueError while
    another process writes this file.
    """
    path, shape = Path(path), (count, *space.shape)
    check_value("count", count, up_to(10**9, whole(at_least(1))))
    check_value("batch_size", batch_size, up_to(2**20, whole(at_least(1))))
    if path.suffix != ".npy":
        raise InvalidInput(f"the name of a file of samples must end in .npy, got {path}.")
    with _sole_writer(path):
        _write(generate, space, path, shape, made_by, batch_size, on_progress)
    return np.load(path, mmap_mode="r")


@contextmanager
def _sole_writer(path: Path) -> Generator[None]:
    """Lock the name of a file. The system releases the lock when the process ends, even if it is killed."""
    from filelock import FileLock, Timeout

    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise InvalidInput(f"another process is writing {path}: wait until it ends, or name another file.") from None
    try:
        yield
    finally:
        place.unlink(missing_ok=True)  # while it is held: whoever waits for it sees that it is gone, and makes its own
        lock.release()


def _write(
    generate: Callable[[np.ndarray], np.ndarray],
    space: DataSpace,
    path: Path,
    shape: tuple[int, ...],
    made_by: dict[str, Any],
    batch_size: int,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    count = shape[0]
    header, row = _header(DTYPES[space.kind], shape), DTYPES[space.kind].itemsize * int(np.prod(space.shape))
    seal = hashlib.sha256(json.dumps([made_by, space.to_dict(), count], sort_keys=True).encode()).hexdigest()[:16]
    partial = path.with_name(f".{path.name}.{seal}.partial")
    with open(partial, "r+b" if partial.exists() else "w+b") as file:
        done = max(0, partial.stat().st_size - len(header)) // row
        file.write(header)
        file.truncate(len(header) + done * row)  # what was written of a row is made again
        file.seek(0, os.SEEK_END)
        for stop, samples in batches(generate, done, count, batch_size):
            file.write(_checked(samples, space).tobytes())
            file.flush()
            if on_progress:
                on_progress(stop, count)
        os.fsync(file.fileno())
    partial.replace(path)
    for other in path.parent.glob(f".{path.name}.*.partial"):
        other.unlink()


def _header(dtype: np.dtype[Any], shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, description)
    return file.getvalue()


def _checked(samples: np.ndarray, space: DataSpace) -> np.ndarray:
    assert samples.shape[1:] == space.shape and samples.dtype == DTYPES[space.kind], (samples.shape, samples.dtype)
    return samples
