"""Sources of encoded pictures: read once to check them, and again to store them, never all at once."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import IO, Any, ClassVar, TypeVar, cast

import numpy as np

from fewstep.data.examination import Examination, mixed_sizes
from fewstep.data.source import Found, Report, Survey
from fewstep.support.checks import between, check_fields, instance_of, optional, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name, printable

Picture = tuple[str, Callable[[], IO[bytes]]]  # its name, and what opens it
SIDE = whole(between(1, 4096))
Item = TypeVar("Item")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Listing:
    """What is known before a picture is opened: labels int64 [N], classes, and the source's own split, bool [N].

    pictures: a function that streams (name, function that opens it), in the order of labels. layout: what kind of
    place it is, in words. left_out: what is there and not read, {its kind in words: (how many, an example)}.
    """

    pictures: Callable[[], Iterator[Picture]]
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    heldout: np.ndarray | None = None
    layout: str = ""
    left_out: Found = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EncodedPictures:
    """How pictures become rows: the middle, resized to resolution (None: as they are, if all are of one size).

    resolution: of both sides, or [height, width]. mode: "rgb", "grayscale", or "rgba", which keeps transparency.
    background: a colour name or #rrggbb, behind transparent pixels; with "rgba" the colour of those that are wholly
    transparent. resampling: "lanczos" or "box", both with antialiasing. skip_broken: leave out pictures that cannot be
    read, instead of stopping. most_pixels: of a picture that is read.
    """

    name: ClassVar[str]
    resolution: int | Sequence[int] | None = None
    mode: str = "rgb"
    background: str = "white"
    resampling: str = "lanczos"
    skip_broken: bool = False
    most_pixels: int = 2**26

    def __post_init__(self):
        from PIL import ImageColor

        from fewstep.data import decoding as pictures

        check_name("mode", self.mode, pictures.CHANNELS, "pictures")
        check_name("resampling", self.resampling, pictures.FILTERS, "pictures")
        check_fields(self, resolution=optional(_sides), skip_broken=instance_of(bool, "true or false"))
        check_fields(self, most_pixels=whole(between(1, pictures.MOST_PIXELS)))
        if isinstance(self.resolution, list):
            object.__setattr__(self, "resolution", tuple(self.resolution))
        try:
            opaque = len(ImageColor.getrgb(self.background)) == 3
        except (ValueError, AttributeError, TypeError):
            opaque = False
        if not opaque:
            raise InvalidInput.of("background", self.background, "a colour name or '#rrggbb'")

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that pictures are brought to; None: they stay as they are."""
        if self.resolution is None or not isinstance(self.resolution, int):
            return cast(tuple[int, int] | None, self.resolution)
        return self.resolution, self.resolution

    @property
    def shape(self) -> tuple[int, ...] | None:
        return None if self.size is None else self._shape(*self.size)

    def _shape(self, height: int, width: int) -> tuple[int, ...]:
        from fewstep.data.decoding import CHANNELS

        return len(CHANNELS[self.mode]), height, width

    def listing(self) -> Listing:
        """What there is, without opening a picture. Raises ValueError where there is nothing."""
        raise NotImplementedError

    def survey(self, report: Report) -> Survey:
        listing = self.listing()
        _check_classes(listing.classes)
        seen = Examination(len(listing.labels))
        for name, size, notes in in_threads(self._examine, listing.pictures()):
            seen.add(name, size, notes)
            report(seen.done, seen.count)
            if self.size is None and size and seen.first and size != seen.first[1]:
                raise InvalidInput(mixed_sizes(seen.first, (name, size)))
        if seen.first is None:
            raise InvalidInput(f"{self.name}: none of the pictures can be read ({seen.count:,} in all).")
        heldout = None if listing.heldout is None else listing.heldout[seen.keep]
        if heldout is not None and heldout.all():
            raise InvalidInput(f"{self.name}: none of the pictures for training can be read.")
        return Survey(
            kind="images",
            shape=self.shape or self._shape(*seen.first[1][::-1]),
            labels=listing.labels[seen.keep],
            rows=lambda: in_threads(self._decode, compress(listing.pictures(), seen.keep)),
            classes=listing.classes,
            heldout=heldout,
            findings=seen.findings(listing.layout, listing.left_out),
            checked=seen.done,
        )

    def _examine(self, item: Picture) -> tuple[str, tuple[int, int] | None, list[str]]:
        from fewstep.data import decoding as pictures

        name, opened = item
        try:
            with pictures.named(name), opened() as file:
                size, notes = pictures.examine(file, self.mode, self.most_pixels)
        except pictures.BrokenPicture as error:
            if self.skip_broken:
                return name, None, []
            raise InvalidInput(f"{error}. Nothing was written. Replace it, or set skip_broken: true.") from error
        return name, size, notes + (_fitting(*size, *self.size) if self.size else [])

    def _decode(self, item: Picture) -> np.ndarray:
        from fewstep.data import decoding as pictures

        name, opened = item
        with pictures.named(name), opened() as file:
            return pictures.decode(file, self.mode, self.background, self.size, self.resampling)


def in_threads(function: Callable[[Item], Made], items: Iterable[Item], chunk: int = 8) -> Iterator[Made]:
    """function(item) of each item, in order, a few chunks ahead of the reader: decoding frees the interpreter lock."""
    rest, workers = iter(items), min(8, os.cpu_count() or 1)

    def all_of(part: list[Item]) -> list[Made]:
        return [function(item) for item in part]

    with ThreadPoolExecutor(workers) as pool:
        ahead: deque[Future[list[Made]]] = deque()
        while part := list(islice(rest, chunk)):
            ahead.append(pool.submit(all_of, part))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _fitting(width: int, height: int, wanted_height: int, wanted_width: int) -> list[str]:
    """What it takes to bring a picture to a size."""
    notes = {
        "cropped to the middle": width * wanted_height != height * wanted_width,
        "enlarged": width < wanted_width or height < wanted_height,
        "made smaller": width > wanted_width and height > wanted_height,
    }
    return [note for note, true in notes.items() if true]


def _sides(value: Any, _owner: Any = None) -> str | None:
    """A check: one side of a square, or [height, width]."""
    if isinstance(value, list | tuple):
        fits = len(value) == 2 and not any(SIDE(side, None) for side in value)
        return None if fits else "[height, width], each a whole number between 1 and 4096"
    return SIDE(value, None) if isinstance(value, int) else "a whole number, or [height, width]"


def _check_classes(classes: Sequence[str]) -> None:
    """Raise ValueError for a name that no file in UTF-8 can hold."""
    for name in classes:
        if printable(name) != name:
            raise InvalidInput(f"the class name {printable(name)!r} is not UTF-8: rename it.")
