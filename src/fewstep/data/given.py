"""Pictures that a user gives beside a data set, to be compared with it or edited: read as the data's own were."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import IO, Any

import numpy as np

from fewstep.data.encoded import EncodedPictures, in_threads
from fewstep.data.folder import Folder
from fewstep.data.labelling import NONE
from fewstep.data.space import DataSpace

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class GivenPicture:
    """One of them: uint8 [C, H, W], and what was changed to make it one of the data's kind."""

    name: str
    pixels: np.ndarray
    notes: tuple[str, ...]


def reader_for(path: Path | str, space: DataSpace, source: Mapping[str, Any] | None = None) -> Folder:
    """What reads a folder, an archive, arrays or one picture like the pictures of a space.

    source: what a store says of where its own came from. Mode, background, size and resampling are as there; without
    it, or where that was no source of pictures, the mode is that of the space and nothing is resized.
    """
    from fewstep.data.decoding import CHANNELS

    known = {field.name for field in fields(EncodedPictures)} - {"skip_broken"}
    settings = {name: value for name, value in (source or {}).items() if name in known}
    modes = {len(letters): mode for mode, letters in CHANNELS.items()}
    return Folder(path=str(path), label_column=NONE, **{"mode": modes.get(space.shape[0], "rgb"), **settings})


def read_given(reader: Folder) -> list[GivenPicture]:
    """All pictures of a place, in its order. Raises ValueError for a place without one, and for a broken one.

    What is there and not read is said in a warning, as ingestion lists it.
    """
    listing = reader.listing()
    for kind, (count, example) in listing.left_out.items():
        log.warning("%s: left out %s: %s, such as %s", reader.path, kind, f"{count:,}", example)
    return list(in_threads(lambda item: read_one(reader, *item), listing.pictures()))


def read_one(reader: EncodedPictures, name: str, opener: Callable[[], IO[bytes]]) -> GivenPicture:
    """One picture, which BrokenPicture names where it cannot be read."""
    from fewstep.data.decoding import decode, examine, named

    with named(name), opener() as file:
        size, notes = examine(file, reader.mode, reader.most_pixels)
        file.seek(0)
        pixels = decode(file, reader.mode, reader.background, reader.size, reader.resampling)
    resized = [] if size == pixels.shape[:0:-1] else ["brought to the size of the data"]
    return GivenPicture(name, pixels, (*notes, *resized))
