"""Sources of encoded pictures: read once to check them, and again to store them, never all at once."""

import os
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress, islice
from typing import ClassVar

import numpy as np

from fewstep.data.source import Report, Survey
from fewstep.support.checks import between, check_fields, instance_of, optional, whole
from fewstep.support.errors import InvalidInput
from fewstep.support.names import check_name


@dataclass(frozen=True)
class Listing:
    """What is known before a picture is opened: labels int64 [N], classes, and the source's own split, bool [N].

    pictures: a function that streams (name, function that opens it), in the order of labels.
    """

    pictures: Callable[[], Iterator[tuple[str, Callable]]]
    labels: np.ndarray
    classes: tuple[str, ...] = ()
    heldout: np.ndarray | None = None


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
        return self.resolution and self._shape(self.resolution, self.resolution)

    def _shape(self, height: int, width: int) -> tuple[int, ...]:
        return (3 if self.mode == "rgb" else 1), height, width

    def listing(self) -> Listing:
        """What there is, without opening a picture. Raises ValueError where there is nothing."""
        raise NotImplementedError

    def survey(self, report: Report) -> Survey:
        listing, size, skipped, converted = self.listing(), None, [], Counter()
        keep = np.ones(len(listing.labels), bool)
        for row, (name, found, notes) in enumerate(in_threads(self._examine, listing.pictures())):
            report(row + 1, len(keep))
            if found is None:
                keep[row] = False
                skipped.append(name)
                continue
            converted.update(notes)
            size = size or (name, found)
            if self.resolution is None and found != size[1]:
                raise InvalidInput(_mixed_sizes(*size, name, found))
        if not keep.any():
            raise InvalidInput(f"{self.name}: none of the {len(keep)} pictures can be read.")
        return Survey(
            kind="images",
            shape=self.shape or self._shape(*size[1][::-1]),
            labels=listing.labels[keep],
            rows=lambda: in_threads(self._decode, compress(listing.pictures(), keep)),
            classes=listing.classes,
            heldout=None if listing.heldout is None else listing.heldout[keep],
            converted=dict(sorted(converted.items())),
            skipped=tuple(skipped),
            checked=len(keep),
        )

    def _examine(self, item):
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

    def _decode(self, item):
        from fewstep.data import decoding as pictures

        name, opened = item
        with pictures.named(name), opened() as file:
            return pictures.decode(file, self.mode, self.background, self.resolution, self.resampling)


def in_threads(function: Callable, items: Iterable, chunk: int = 8) -> Iterator:
    """function(item) of each item, in order, a few chunks ahead of the reader: decoding frees the interpreter lock."""
    items, workers = iter(items), min(8, os.cpu_count() or 1)
    with ThreadPoolExecutor(workers) as pool:
        ahead = deque()
        while part := list(islice(items, chunk)):
            ahead.append(pool.submit(lambda part: [function(item) for item in part], part))
            if len(ahead) > 2 * workers:
                yield from ahead.popleft().result()
        while ahead:
            yield from ahead.popleft().result()


def _mixed_sizes(name: str, size: tuple[int, int], other: str, other_size: tuple[int, int]) -> str:
    sizes = f"{name} is {size[0]}x{size[1]}, {other} is {other_size[0]}x{other_size[1]}"
    return f"The pictures are of several sizes: {sizes}. Set a resolution to crop and resize them all."
