"""Sources of encoded pictures: read once to check them, and again to store them, never all at once."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import compress, islice
from typing import IO, ClassVar, TypeVar

import numpy as np

from fewstep.data.source import Report, Survey
from fewstep.support.checks import between, check_fields, instance_of, optional, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name

Picture = tuple[str, Callable[[], IO[bytes]]]  # its name, and what opens it
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
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class EncodedPictures:
    """How pictures become rows: the middle square, resized to resolution (None: as they are, if all are of one size).

    mode: "rgb" or "grayscale". background: a colour name or #rrggbb, behind transparent pixels. resampling: "lanczos"
    or "box", both with antialiasing. skip_broken: leave out pictures that cannot be read, instead of stopping.
    """

    name: ClassVar[str]
    resolution: int | None = None
    mode: str = "rgb"
    background: str = "white"
    resampling: str = "lanczos"
    skip_broken: bool = False

    def __post_init__(self):
        from PIL import ImageColor

        from fewstep.data import decoding as pictures

        check_name("mode", self.mode, pictures.CHANNELS, "pictures")
        check_name("resampling", self.resampling, pictures.FILTERS, "pictures")
        check_fields(
            self,
            resolution=optional(whole(between(1, 4096))),
            skip_broken=instance_of(bool, "true or false"),
        )
        try:
            ImageColor.getrgb(self.background)
        except (ValueError, AttributeError, TypeError):
            raise InvalidInput.of("background", self.background, "a colour name or '#rrggbb'") from None

    @property
    def shape(self) -> tuple[int, ...] | None:
        return None if self.resolution is None else self._shape(self.resolution, self.resolution)

    def _shape(self, height: int, width: int) -> tuple[int, ...]:
        return (3 if self.mode == "rgb" else 1), height, width

    def listing(self) -> Listing:
        """What there is, without opening a picture. Raises ValueError where there is nothing."""
        raise NotImplementedError

    def survey(self, report: Report) -> Survey:
        listing, skipped, converted = self.listing(), list[str](), Counter[str]()
        first: tuple[str, tuple[int, int]] | None = None  # the first picture that can be read, and its size
        keep = np.ones(len(listing.labels), bool)
        for row, (name, found, notes) in enumerate(in_threads(self._examine, listing.pictures())):
            report(row + 1, len(keep))
            if found is None:
                keep[row] = False
                skipped.append(name)
                continue
            converted.update(notes)
            first = first or (name, found)
            if self.resolution is None and found != first[1]:
                raise InvalidInput(_mixed_sizes(*first, name, found))
        if first is None:
            raise InvalidInput(f"{self.name}: none of the {len(keep)} pictures can be read.")
        return Survey(
            kind="images",
            shape=self.shape or self._shape(*first[1][::-1]),
            labels=listing.labels[keep],
            rows=lambda: in_threads(self._decode, compress(listing.pictures(), keep)),
            classes=listing.classes,
            heldout=None if listing.heldout is None else listing.heldout[keep],
            converted=dict(sorted(converted.items())),
            skipped=tuple(skipped),
            checked=len(keep),
        )

    def _examine(self, item: Picture) -> tuple[str, tuple[int, int] | None, list[str]]:
        from fewstep.data import decoding as pictures

        name, opened = item
        try:
            with pictures.named(name), opened() as file:
                size, notes = pictures.examine(file, self.mode)
        except pictures.BrokenPicture as error:
            if self.skip_broken:
                return name, None, []
            raise InvalidInput(f"{error}. Nothing was written. Replace it, or set skip_broken: true.") from error
        if self.resolution is not None and min(size) < self.resolution:
            notes.append("enlarged")
        return name, size, notes

    def _decode(self, item: Picture) -> np.ndarray:
        from fewstep.data import decoding as pictures

        name, opened = item
        with pictures.named(name), opened() as file:
            return pictures.decode(file, self.mode, self.background, self.resolution, self.resampling)


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


def _mixed_sizes(name: str, size: tuple[int, int], other: str, other_size: tuple[int, int]) -> str:
    sizes = f"{name} is {size[0]}x{size[1]}, {other} is {other_size[0]}x{other_size[1]}"
    return f"The pictures are of several sizes: {sizes}. Set a resolution to crop and resize them all."
