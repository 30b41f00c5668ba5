"""Tensors in a folder: safetensors beside a JSON file, and what their content comes to."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
from safetensors.torch import save_file
from torch import Tensor


def write_folder(folder: Path, name: str, tensors: dict[str, Tensor], facts: dict):
    """folder/<name>.safetensors and folder/<name>.json, on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def hash_tensors(tensors: dict[str, Tensor]) -> str:
    """sha256 over names, shapes and bytes."""
    digest = hashlib.sha256()
    for name, t in sorted(tensors.items()):
        array: np.ndarray = t.detach().cpu().contiguous().numpy()
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()
