"""Checkpoints: a folder of safetensors and JSON that is there whole or not at all."""

import json
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from fewstep.support.files import naming_full_disk, replaced_folder, write_facts
from fewstep.support.tensor_files import write_tensors

KEPT = 2
FACTS, TENSORS = "checkpoint.json", "checkpoint.safetensors"


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict[str, Any]):
    """Write <folder>/step_<step>; the two newest are kept.

    Raises OSError in words when the disk is full: what was there before stays.
    """
    final, size = folder / f"step_{step:09d}", sum(tensor.nbytes for tensor in tensors.values())
    with naming_full_disk(f"checkpoint of step {step}", folder), replaced_folder(final, FACTS, size) as partial:
        write_tensors(partial / TENSORS, tensors)
        write_facts(partial / FACTS, {"step": step, **facts})
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())


def newest_facts(folder: Path) -> dict[str, Any] | None:
    """The facts of the newest checkpoint whose facts can be read, or None."""
    for path in reversed(checkpoints(folder)):
        try:
            return json.loads((path / "checkpoint.json").read_text())
        except (OSError, ValueError):
            continue
    return None


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Tensors and facts of the newest checkpoint that can be read, or None; removes what interrupted writes left."""
    for remains in folder.glob(".step_*"):
        shutil.rmtree(remains, ignore_errors=True)
    for path in reversed(checkpoints(folder)):
        try:
            facts = json.loads((path / FACTS).read_text())
            return load_file(path / TENSORS), facts
        except (OSError, ValueError, SafetensorError):
            continue
    return None


def flatten(**modules: nn.Module) -> dict[str, Tensor]:
    """{module/name: tensor} of several modules' states."""
    return {f"{part}/{name}": t for part, module in modules.items() for name, t in module.state_dict().items()}


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, by their own names."""
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
