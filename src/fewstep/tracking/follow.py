"""Reads the progress that a training writes to its run folder, while it is being written."""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from fewstep.support.json_text import parse_json

log = logging.getLogger(__name__)


class Picture(NamedTuple):
    """`<key>_<images seen>.png`."""

    key: str
    images: int
    path: Path


Consumer = Callable[[list[dict], list[Picture]], object]


def list_pictures(folder: Path) -> list[Picture]:
    """The pictures of a run folder, by images seen."""
    parts = [(path, *path.stem.rpartition("_")[::2]) for path in (folder / "pictures").glob("*.png")]
    pictures = [Picture(key, int(number), path) for path, key, number in parts if key and number.isdecimal()]
    return sorted(pictures, key=lambda picture: (picture.images, picture.key))


class Progress:
    """Reads `progress.jsonl` and `pictures/` of a run folder, each entry and picture once.

    An incomplete last line is left for the next call. Entries that a resumed training repeats are skipped.
    """

    def __init__(self, folder: Path | str):
        self._folder = Path(folder)
        self._offset, self._images = 0, -1
        self._pictures: set[Path] = set()

    def read(self) -> tuple[list[dict], list[Picture]]:
        """New entries and pictures since the last call, with increasing `images`."""
        pictures = [picture for picture in list_pictures(self._folder) if picture.path not in self._pictures]
        self._pictures.update(picture.path for picture in pictures)
        return list(self._entries()), pictures

    def _entries(self) -> Iterator[dict]:
        for line in self._lines():
            entry = _parse(line)
            if entry and entry["images"] > self._images:
                self._images = entry["images"]
                yield entry

    def _lines(self) -> list[bytes]:
        path = self._folder / "progress.jsonl"
        if not path.exists():
            return []
        if path.stat().st_size < self._offset:  # another training began here
            self._offset, self._images = 0, -1
        with path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        self._offset += len(whole) + 1 if whole else 0
        return whole.splitlines()


def _parse(line: bytes) -> dict | None:
    """The entry of a line, or None. After a kill, the next line may follow an incomplete one without a line break."""
    try:
        entry = parse_json(line[max(line.rfind(b"{"), 0) :])
        return entry if isinstance(entry["images"], int) else None
    except (ValueError, KeyError, TypeError):
        return None


class Follower:
    """A thread that passes new entries and pictures of a run folder to consumers, and the rest when it stops.

    Each consumer is called every `seconds` with (entries, pictures), often both empty. After an error it is not called
    again.
    """

    def __init__(self, folder: Path | str, consumers: Sequence[Consumer], seconds: float = 0.5):
        self._progress, self._consumers, self._seconds = Progress(folder), list(consumers), seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="follow-progress", daemon=True)

    def start(self) -> "Follower":
        self._thread.start()
        return self

    def stop(self, patience: float = 60.0) -> None:
        """Pass on the rest. After `patience` seconds it returns anyway."""
        self._stopping.set()
        self._thread.join(patience)
        if self._thread.is_alive():
            log.warning("not everything in the progress file was passed on within %.0f s", patience)

    def __enter__(self) -> "Follower":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _follow(self) -> None:
        while not self._stopping.wait(self._seconds):
            self._pass_on()
        self._pass_on()

    def _pass_on(self) -> None:
        entries, pictures = self._progress.read()
        for consumer in list(self._consumers):
            try:
                consumer(entries, pictures)
            except Exception:
                log.warning("%r failed and gets no more of this training", consumer, exc_info=True)
                self._consumers.remove(consumer)
