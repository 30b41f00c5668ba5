"""What a store's content comes to: its hash and its scale, the same numbers on every machine."""

import hashlib
import json
import math
from collections.abc import Callable, Iterator

import numpy as np

from fewstep.data.space import DataSpace
from fewstep.support.errors import InvalidInput

CHUNK_BYTES = 2**20


def chunks(values: np.ndarray) -> Iterator[np.ndarray]:
    """The rows of an array, a megabyte at a time."""
    rows = max(1, CHUNK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, len(values), rows):
        yield values[start : start + rows]


def content_hash(images: np.ndarray, labels: np.ndarray, space: DataSpace, split: dict[str, list[int]]) -> str:
    """sha256 over the space without its name and the split (as JSON), then the images, then the labels."""
    facts = {k: v for k, v in space.to_dict().items() if k != "name"}
    digest = hashlib.sha256(json.dumps({"space": facts, "split": split}, sort_keys=True).encode())
    for values in (images, labels):
        little_endian = values.dtype.newbyteorder("<")
        for chunk in chunks(values):
            digest.update(np.ascontiguousarray(chunk, little_endian).data)
    return digest.hexdigest()


def measure_scale(values: np.ndarray, sigma_data: float) -> float:
    """sigma_data / the standard deviation of all values (images brought to [-1, 1]). Exact sums, so no order matters.

    Raises ValueError where all values are the same or one is not finite.
    """
    deviation = _deviation_of_bytes(values) / 127.5 if values.dtype == np.uint8 else _deviation_of_floats(values)
    if not math.isfinite(deviation):
        raise InvalidInput("The training data must be finite, and at least one value is not.")
    if deviation == 0:
        raise InvalidInput(f"All {values.size:,} training values are the same: there is nothing to learn from them.")
    return sigma_data / deviation


def _deviation_of_bytes(values: np.ndarray) -> float:
    histogram = np.zeros(256, np.int64)
    for chunk in chunks(values):
        histogram += np.bincount(chunk.ravel(), minlength=256)
    total, squares = (sum(int(n) * v**power for v, n in enumerate(histogram)) for power in (1, 2))
    return math.sqrt(values.size * squares - total**2) / values.size


def _deviation_of_floats(values: np.ndarray) -> float:
    def mean(function: Callable[[np.ndarray], np.ndarray]) -> float:
        return (
            math.fsum(x for chunk in chunks(values) for x in function(chunk.astype(np.float64)).ravel()) / values.size
        )

    if not all(np.isfinite(chunk).all() for chunk in chunks(values)):
        return math.nan
    centre = mean(lambda x: x)
    return math.sqrt(mean(lambda x: (x - centre) ** 2))
