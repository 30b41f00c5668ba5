"""Checkpoints: a folder of safetensors and JSON that is there whole or not at all, and that knows its own content.

checkpoint.json says what the tensors come to (sha256), and its seal what it says itself. So a checkpoint that was
changed, by a hand or by a disk, is told from a whole one, and the one before it is taken.

A training goes on while they are written: `Checkpoints` takes a copy in memory and writes it in a thread.
"""

import logging
import shutil
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.files import naming_full_disk, remove_if_dead, replaced_folder, write_facts
from fewstep.support.json_text import parse_json
from fewstep.support.tensor_files import hash_tensors, seal, write_tensors

KEPT = 2
FACTS, TENSORS = "checkpoint.json", "checkpoint.safetensors"
FORMER = {"step", "job", "seconds"}  # in the facts of a checkpoint without a seal
MOST_TENSORS = 2**15  # a training of the largest U-Net (566 parameters) has some 4,000
Facts = dict[str, Any]
log = logging.getLogger(__name__)


def save_checkpoint(
    folder: Path, step: int, tensors: dict[str, Tensor], facts: Facts, kept: int = KEPT, spared: int | None = None
):
    """Write <folder>/step_<step>; the newest are kept, `kept` of them, or all with 0, and that of the step `spared`.

    Raises OSError in words when the disk is full: what was there before stays.
    """
    final, size = path_of(folder, step), sum(tensor.nbytes for tensor in tensors.values())
    facts = {"step": step, **facts, "sha256": hash_tensors(tensors)}
    with naming_full_disk(f"checkpoint of step {step}", folder), replaced_folder(final, FACTS, size) as partial:
        write_tensors(partial / TENSORS, tensors)
        write_facts(partial / FACTS, {**facts, "seal": seal(facts)})
    for old in checkpoints(folder)[:-kept] if kept else []:
        if _step_of(old) != spared:
            shutil.rmtree(old, ignore_errors=True)


class Checkpoints(AbstractContextManager["Checkpoints"]):
    """The checkpoints that a training writes into a folder, one after the other, in the background.

    As a context: what interrupted writes left is removed before the block, and all of them are on the disk after it.
    kept: as in save_checkpoint.
    """

    def __init__(self, folder: Path, kept: int = KEPT):
        self.folder, self.kept = folder, kept
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._writing: Future[None] | None = None

    def save(self, step: int, tensors: dict[str, Tensor], facts: Facts, spared: int | None = None) -> None:
        """Begin to write what the tensors are now, once the one before it is written. spared: as in save_checkpoint."""
        self.wait()
        copies = {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
        self._writing = self._thread.submit(save_checkpoint, self.folder, step, copies, facts, self.kept, spared)

    def wait(self) -> None:
        """Return once all of them are on the disk. Raises what save_checkpoint raises."""
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> "Checkpoints":
        for remains in self.folder.glob(".step_*"):
            remove_if_dead(remains)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self.wait()
        except Exception as problem:
            if kind is None:
                raise
            log.warning("The last checkpoint was not written either: %s", problem)


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints, oldest first. Whether one is whole, only reading it tells."""
    return sorted(p for p in folder.glob("step_*") if p.is_dir())


def facts_of_all(folder: Path) -> dict[Path, Facts]:
    """The facts of each checkpoint, oldest first. Raises InvalidInput where they are not as they were written."""
    return {path: read_facts(path) for path in checkpoints(folder)}


def newest_facts(folder: Path) -> Facts | None:
    """The facts of the newest checkpoint whose facts are as they were written, or None."""
    for path in reversed(checkpoints(folder)):
        try:
            return read_facts(path)
        except InvalidInput:
            continue
    return None


def newest_whole(folder: Path) -> Path | None:
    """The newest checkpoint that is as it was written."""
    return next((path for path, found in _read_all(folder) if not isinstance(found, InvalidInput)), None)


def load_newest(folder: Path) -> tuple[dict[str, Tensor], Facts] | None:
    """Tensors and facts of the newest checkpoint that is whole, or None where there is no checkpoint.

    Warns of the newer ones that are not, and raises InvalidInput where none is.
    """
    damaged: list[InvalidInput] = []
    for path, found in _read_all(folder):
        if not isinstance(found, InvalidInput):
            for problem in damaged:
                log.warning("%s. The training goes on from %s.", problem, path.name)
            return found
        damaged.append(found)
    if damaged:
        raise InvalidInput(
            f"{'; '.join(map(str, damaged))}: no checkpoint of this training is whole. Start it again with "
            "--params=fresh=true."
        )
    return None


def _read_all(folder: Path) -> Iterator[tuple[Path, tuple[dict[str, Tensor], Facts] | InvalidInput]]:
    """Each checkpoint, newest first, with its content, or with what is wrong with it."""
    for path in reversed(checkpoints(folder)):
        try:
            yield path, read_checkpoint(path)
        except InvalidInput as problem:
            yield path, problem


def path_of(folder: Path, step: int) -> Path:
    """The checkpoint of a step."""
    return folder / f"step_{step:09d}"


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], Facts]:
    """Its tensors and its facts. Raises InvalidInput where they are not as they were written."""
    facts = read_facts(path)
    try:
        with safe_open(path / TENSORS, "pt") as file:
            many = len(file.keys())
        if many > MOST_TENSORS:
            raise InvalidInput(
                f"the checkpoint {path} is damaged ({many:,} tensors, and none has over {MOST_TENSORS:,})"
            )
        tensors = load_file(path / TENSORS)
    except (OSError, SafetensorError) as problem:
        raise InvalidInput(f"the checkpoint {path} is damaged ({reason_of(problem)})") from problem
    if facts.get("sha256", found := hash_tensors(tensors)) != found:
        raise InvalidInput(f"the checkpoint {path} is damaged (its tensors are not those that were written)")
    return tensors, facts


def read_facts(path: Path) -> Facts:
    """The facts as they were given to save_checkpoint, with the step and the hash of the tensors.

    A checkpoint of an earlier version of Fewstep has neither hash nor seal, and is taken as it is.
    """
    try:
        facts = parse_json((path / FACTS).read_text())
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"the checkpoint {path} is damaged ({reason_of(problem)})") from problem
    known = dict(facts) if isinstance(facts, dict) else {}
    found = known.pop("seal", None)
    whole = known.keys() >= FORMER if found is None else found == seal(known)
    if not whole or known.get("step") != _step_of(path):
        raise InvalidInput(f"the checkpoint {path} is damaged ({FACTS} is not as it was written)")
    return known


def _step_of(path: Path) -> int | None:
    number = path.name.removeprefix("step_")
    return int(number) if number.isdecimal() else None


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """The tensors of one part, by their own names."""
    return {name.removeprefix(f"{part}/"): t for name, t in tensors.items() if name.startswith(f"{part}/")}
