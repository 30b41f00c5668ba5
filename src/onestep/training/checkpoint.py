"""Checkpoints: a folder of safetensors and JSON that is there whole or not at all."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

KEPT = 2
FULL = (errno.ENOSPC, errno.EDQUOT)


def save_checkpoint(folder: Path, step: int, tensors: dict[str, Tensor], facts: dict):
    """Write <folder>/step_<step>; the two newest are kept.

    Raises OSError in words when the disk is full: what was there before stays.
    """
    final = folder / f"step_{step:09d}"
    temporary = folder / f".{final.name}.{os.getpid()}"
    try:
        with naming_full_disk(f"checkpoint of step {step}", folder):
            write_folder(temporary, "checkpoint", tensors, {"step": step, **facts})
            shutil.rmtree(final, ignore_errors=True)
            temporary.rename(final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old, ignore_errors=True)


@contextmanager
def naming_full_disk(what: str, place: Path) -> Iterator[None]:
    """Says of an error that the disk is full, whichever library raised it."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        number = next((n for n in FULL if getattr(error, "errno", None) == n or f"os error {n})" in str(error)), None)
        if number is None:
            raise
        raise OSError(
            number,
            f"the disk is full: {what} was not written to {place}. The last checkpoint is whole: make room and run the "
            "same command again",
        ) from error


def write_folder(folder: Path, name: str, tensors: dict[str, Tensor], facts: dict):
    """folder/<name>.safetensors and folder/<name>.json, on the disk when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file({k: v.detach().contiguous().cpu() for k, v in tensors.items()}, folder / f"{name}.safetensors")
    (folder / f"{name}.json").write_text(json.dumps(facts, indent=2) + "\n")
    for file in folder.iterdir():
        with file.open("rb") as opened:
            os.fsync(opened.fileno())


def checkpoints(folder: Path) -> list[Path]:
    """Whole checkpoints, oldest first."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())


def load_newest(folder: Path) -> tuple[dict[str, Tensor], dict] | None:
    """Tensors and facts of the newest checkpoint that can be read, or None; removes what interrupted writes left."""
    for remains in folder.glob(".step_*"):
        shutil.rmtree(remains, ignore_errors=True)
    for path in reversed(checkpoints(folder)):
        try:
            facts = json.loads((path / "checkpoint.json").read_text())
            return load_file(path / "checkpoint.safetensors"), facts
        except (OSError, ValueError, SafetensorError):
            continue
    return None


def flatten(**modules: nn.Module) -> dict[str, Tensor]:
    """{module/name: tensor} of several modules' states."""
    return {f"{part}/{name}": t for part, module in modules.items() for name, t in module.state_dict().items()}


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, by their own names."""
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
