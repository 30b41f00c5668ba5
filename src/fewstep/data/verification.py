"""Whether the files of a folder are those that were last read in full, found out without reading all of them.

Beside the folder, in a hidden file that neither git nor DVC tracks, lies what was seen then: of each file its size, its
times, and a hash of samples of its content. A file that was rewritten has another time. What damages a disk in silence
leaves the times: samples may find it, and reading everything does.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from fewstep.support.files import write_json
from fewstep.support.json_text import parse_json

SAMPLES, SAMPLE_BYTES = 64, 4096


def record_of(folder: Path) -> Path:
    """Where what was seen of a folder is kept."""
    return folder.with_name(f".{folder.name}.verified")


def seen_before(folder: Path, names: Iterable[str], sha256: str) -> bool:
    """Whether these files were read in full with this result, and look as they did then."""
    try:
        return parse_json(record_of(folder).read_text()) == _appearance(folder, names, sha256)
    except (OSError, ValueError):
        return False


def remember(folder: Path, names: Iterable[str], sha256: str) -> None:
    """Keep how these files look, which were just read in full. Where that cannot be kept, they are read again."""
    with suppress(OSError):
        write_json(record_of(folder), _appearance(folder, names, sha256))


def _appearance(folder: Path, names: Iterable[str], sha256: str) -> dict[str, Any]:
    files: dict[str, Any] = {}
    for name in names:
        facts = (folder / name).stat()
        files[name] = [facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, _sample(folder / name, facts.st_size)]
    return {"sha256": sha256, "files": files}


def _sample(file: Path, size: int) -> str:
    """sha256 of pieces at even distances, the first and the last among them."""
    digest, last = hashlib.sha256(), max(0, size - SAMPLE_BYTES)
    with file.open("rb") as opened:
        for number in range(SAMPLES):
            opened.seek(last * number // (SAMPLES - 1))
            digest.update(opened.read(SAMPLE_BYTES))
    return digest.hexdigest()
