"""Readers of files against hostile ones: each is read or refused in a short sentence, soon and in little memory.

    python benchmarks/hostile.py [--count 500] [--seed 0] [--readers images zip ...] [--seconds 2] [--megabytes 500]

Each reader has a process of its own, which reads one file after the other. Printed for each reader: how many files were
read and refused, and the most that one took of the processor and of memory. The status is 1 where a file raised
anything else than a refusal, took more than it may, or ended the process.
"""

import argparse
import multiprocessing
import resource
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING

import hostile_files as files
from bounds import Bounds
from memory import peak_bytes, reset_peak

from fewstep.support.errors import InvalidInput, StorageError

if TYPE_CHECKING:
    from fewstep.models.model import Model

LONGEST = 4003  # characters of a refusal
GUARD = 8 * 2**30  # bytes of a process, so that a bomb ends it and not the machine
PATIENCE = 120  # seconds on the clock, on a machine that others use too


@dataclass(frozen=True)
class Attempt:
    """What came of a file: "read", "refused" or what went wrong, and what it took."""

    outcome: str
    seconds: float
    megabytes: float
    words: str = ""


@cache
def small_model() -> "Model":
    """An untrained one of 8 x 8 pixels."""
    from fewstep.data import DataSpace
    from fewstep.models.model import Model, build_function
    from fewstep.models.spec import ModelSpec

    network = {"name": "unet", "channels": 8, "channel_mult": [1, 1], "num_blocks": 1, "attn_resolutions": [4]}
    spec, space = ModelSpec("cd", network, {"name": "consistency"}), DataSpace("digits", "images", (1, 8, 8), 1.0)
    return Model(build_function(spec, space), space, spec)


def ingested(place: Path) -> None:
    from fewstep.data import ingest

    kind = "parquet" if place.suffix == ".parquet" else "folder"
    source = {"name": kind, **({"train": str(place)} if kind == "parquet" else {"path": str(place)})}
    with tempfile.TemporaryDirectory() as temporary:
        ingest({**source, "resolution": 8}, Path(temporary) / "store")


def stored(place: Path) -> None:
    from fewstep.data import ArrayStore

    ArrayStore.open(place).verify(in_full=True)


def modelled(place: Path) -> None:
    from fewstep.models.model import SavedModel

    SavedModel.open(place).load("cpu")


def resumed(place: Path) -> None:
    from fewstep.training.checkpoint import load_newest

    load_newest(place.parent)


def imported(place: Path) -> None:
    from fewstep.exchange.checkpoints import import_nvidia, import_openai

    try:
        import_openai(place, "x", "imagenet64")
    except InvalidInput:
        import_nvidia(place, "x", "cifar10")


def configured(place: Path) -> None:
    from fewstep.pipelines.yaml_files import check_file

    check_file(place)


def edited(place: Path) -> None:
    from fewstep.serving.edit_requests import order_of
    from fewstep.serving.request import BadRequest, Request

    edit = {"task": "inpaint", "mask": "center", "images": [place.read_text("latin-1")]}
    try:
        order_of(Request.model_validate({"edit": edit}), small_model())
    except BadRequest as refusal:
        raise InvalidInput(str(refusal)) from None


READERS: dict[str, Callable[[Path], None]] = {
    **dict.fromkeys(("images", "tables", "parquet", "zip", "tar", "lmdb", "npz", "npy"), ingested),
    "store": stored,
    "model": modelled,
    "checkpoint": resumed,
    "pickle": imported,
    "yaml": configured,
    "request": edited,
}


def makers(folder: Path) -> dict[str, files.Make]:
    """What makes the files of each reader. folder: for the whole ones that some are made from."""
    from fewstep.data import ingest
    from fewstep.training.checkpoint import save_checkpoint

    ingest({"name": "patches", "count": 16, "side": 8}, folder / "store")
    small_model().save(folder / "model")
    tensors = small_model().function.state_dict()
    save_checkpoint(folder / "checkpoints", 1, tensors, {"job": {"name": "cd"}, "seconds": 1.0})
    checkpoint = folder / "checkpoints" / "step_000000001"
    return {
        "images": files.folder_of_pictures,
        "tables": files.table_of_labels,
        "parquet": files.parquet,
        "zip": files.zipped,
        "tar": files.tarred,
        "lmdb": files.lmdb,
        "npz": files.npz,
        "npy": files.npy,
        "store": files.of_a_store(folder / "store"),
        "model": files.of_a_folder(folder / "model", "model.json", "model.safetensors"),
        "checkpoint": files.of_a_folder(checkpoint, "checkpoint.json", "checkpoint.safetensors"),
        "pickle": files.pickled,
        "yaml": files.yaml_file,
        "request": files.request_of_an_edit,
    }


def attempt(reader: str, place: Path) -> Attempt:
    """Read a file in this process."""
    began, before = time.process_time(), reset_peak()
    outcome, words = "read", ""
    try:
        READERS[reader](place)
    except (InvalidInput, StorageError) as refusal:
        words = str(refusal)
        outcome = "refused" if len(words) <= LONGEST else f"a refusal of {len(words):,} characters"
    except BaseException as bug:
        outcome, words = type(bug).__name__, str(bug)
    return Attempt(outcome, time.process_time() - began, (peak_bytes() - before) / 2**20, words[:300])


def serve(reader: str, pipe: Connection) -> None:
    """Attempts, one after the other, of the places that come through a pipe."""
    resource.setrlimit(resource.RLIMIT_AS, (GUARD, GUARD))
    import torch

    torch.set_num_threads(1)
    while (place := pipe.recv()) is not None:
        pipe.send(attempt(reader, place))


class Reading:
    """A process in which a reader reads; another one once a file has ended it."""

    def __init__(self, reader: str):
        self.reader, self.process = reader, None

    def __call__(self, place: Path) -> Attempt:
        if self.process is None:
            self.pipe, other = multiprocessing.Pipe()
            self.process = multiprocessing.get_context("spawn").Process(target=serve, args=(self.reader, other))
            self.process.start()
            other.close()
        self.pipe.send(place)
        try:
            if self.pipe.poll(PATIENCE):
                return self.pipe.recv()
            outcome = f"no answer in {PATIENCE} s"
        except EOFError:
            outcome = "ended the process"
        self.stop()
        return Attempt(outcome, 0, 0)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def read_all(reader: str, make: files.Make, options: argparse.Namespace, folder: Path) -> list[str]:
    """What went wrong with the files of a reader, in words; and a printed line."""
    reading, wrong, outcomes = Reading(reader), list[str](), Counter[str]()
    seconds = megabytes = 0.0
    # The first file of a process loads libraries, which is not the file's doing.
    reading(next(files.hostile_files(make, 1, -1, folder))[1])
    for seed, place in files.hostile_files(make, options.count, options.seed, folder):
        found = reading(place)
        shutil.rmtree(folder / str(seed))
        outcomes[found.outcome] += 1
        seconds, megabytes = max(seconds, found.seconds), max(megabytes, found.megabytes)
        within = found.seconds <= options.seconds and found.megabytes <= options.megabytes
        if found.outcome not in ("read", "refused") or not within:
            took = f"{found.seconds:.1f} s, {found.megabytes:.0f} MB"
            wrong.append(f"{reader} {seed}: {found.outcome}, {took}: {found.words}")
    reading.stop()
    counts = f"{outcomes.pop('read', 0):5} read {outcomes.pop('refused', 0):5} refused"
    print(f"{reader:11} {counts}   at most {seconds:5.2f} s {megabytes:5.0f} MB   {dict(outcomes) or ''}", flush=True)
    return wrong


def main(words: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--readers", nargs="*", default=list(READERS), choices=list(READERS))
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--megabytes", type=float, default=500)
    options, bounds, wrong = parser.parse_args(words), Bounds(), list[str]()
    with tempfile.TemporaryDirectory() as temporary:
        made = makers(Path(temporary))
        for reader in options.readers:
            wrong += read_all(reader, made[reader], options, Path(temporary) / "files" / reader)
    print("\n".join(wrong))
    bounds.at_most("files that a reader was hurt by", len(wrong), 0)
    bounds.settle()


if __name__ == "__main__":
    main()
