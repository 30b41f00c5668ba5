"""Tensors in a folder: safetensors beside a JSON file, and what their content comes to."""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save_file
from torch import Tensor

from fewstep.support.files import sync_file

_in_words = cache(str)  # NumPy makes the name of a type anew each time


def write_tensors(file: Path, tensors: dict[str, Tensor]) -> None:
    """A safetensors file, on the disk when this returns."""
    save_file({name: t.detach().contiguous().cpu() for name, t in tensors.items()}, file)
    sync_file(file)


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, t in sorted(tensors.items()):
        array: np.ndarray = t.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {_in_words(array.dtype)} {array.shape}".encode())
        digest.update(array.reshape(-1).view(np.uint8).data)  # without a copy, and other threads run meanwhile
    return digest.hexdigest()


def seal(facts: dict[str, Any]) -> str:
    """sha256 of a description, which shows a later change."""
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
