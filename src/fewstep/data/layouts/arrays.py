"""NumPy arrays of images: .npz with images and labels (OpenAI's samples, MedMNIST), or .npy beside each other."""

import math
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import IO, cast

import numpy as np

from fewstep.data.encoded import Listing, Picture
from fewstep.data.file_tree import DAMAGED, FileTree, add_left_out, unreadable
from fewstep.data.formats import picture_file, suffix_of
from fewstep.data.labelling import Naming, Value, join_labels
from fewstep.data.layouts.splits import is_heldout, split_of
from fewstep.data.source import Found
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import NUMPY, ZIP

NEEDS = ".npz or .npy files of uint8 images, [N, H, W, C], [N, C, H, W] or [N, H, W]"
IMAGES = ("arr_0", "images", "image", "imgs", "data", "samples", "x", "pixels")
LABELS = ("arr_1", "labels", "label", "y", "targets", "target", "classes")
CHANNELS = (1, 3, 4)


@dataclass(frozen=True)
class Array:
    """An array in a file, of which nothing but the header was read. stream: opens it at its start."""

    name: str
    key: str
    shape: tuple[int, ...]
    dtype: np.dtype
    stream: Callable[[], IO[bytes]]

    @property
    def role(self) -> str:
        """Its key without what says the split: "images" of train_images."""
        return "_".join(part for part in self.key.lower().split("_") if split_of(part) is None)

    @property
    def is_images(self) -> bool:
        if self.dtype != np.uint8 or len(self.shape) not in (3, 4):
            return False
        if len(self.shape) == 3:  # [H, W, 3] would be one picture
            return self.shape[2] not in CHANNELS
        return self.shape[3] in CHANNELS or self.shape[1] in CHANNELS

    def rows(self) -> Iterator[np.ndarray]:
        """Images as [H, W, C] or [H, W], read one after the other. Raises InvalidInput where they are too large."""
        from fewstep.data.decoding import MOST_PIXELS

        first = len(self.shape) == 4 and self.shape[3] not in CHANNELS
        height, width = self.shape[2:] if first else self.shape[1:3]
        if height * width > MOST_PIXELS:
            raise InvalidInput(
                f"{self.name} has images of {width:,} x {height:,} pixels, and at most {MOST_PIXELS:,} can be read."
            )
        for content in self._parts(self.shape[0]):
            image = np.frombuffer(content, np.uint8).reshape(self.shape[1:])
            yield image.transpose(1, 2, 0) if first else image

    def load(self) -> np.ndarray:
        """The whole array."""
        content = next(self._parts(1))
        return np.frombuffer(content, self.dtype).reshape(self.shape)

    def _parts(self, count: int) -> Iterator[bytes]:
        """Its bytes in so many parts of one size."""
        size = math.prod(self.shape) * self.dtype.itemsize // max(count, 1)
        try:
            with self.stream() as file:
                _header(file)
                for number in range(count):
                    content = file.read(size)
                    if len(content) < size:
                        raise InvalidInput(f"it ends in row {number:,} of {self.shape[0]:,}")
                    yield content
        except MemoryError:
            raise InvalidInput(f"{self.name} cannot be read: it is larger than memory.") from None
        except DAMAGED as error:
            raise InvalidInput(f"{self.name} cannot be read: {error}.") from error


def read(tree: FileTree, naming: Naming) -> Listing | None:
    """Images in the order of the files, those for training first."""
    if tree.pictures():
        return None
    groups = list(_groups(tree))
    pairs = [pair for group in groups for pair in _pairs(group, naming)]
    if not pairs:
        return None
    pairs.sort(key=lambda pair: pair[2])  # stable: training first
    try:
        labels = [_labels(of, images.shape[0]) for images, of, _ in pairs]
        held = np.concatenate([np.full(images.shape[0], heldout) for images, _, heldout in pairs])
        numbers, classes = join_labels(labels, naming.classes, tree.place)
    except MemoryError:
        rows = sum(images.shape[0] for images, _, _ in pairs)
        raise InvalidInput(f"{tree.place} promises {rows:,} images, whose labels are more than memory holds.") from None

    def pictures() -> Iterator[Picture]:
        for images, _, _ in pairs:
            for row, pixels in enumerate(images.rows()):
                yield f"{images.name}, row {row}", partial(pixels_file, pixels)

    own_split = held.any() and not held.all()
    used = {array.name for images, of, _ in pairs for array in (images, of) if array}
    return Listing(pictures, numbers, classes, held if own_split else None, left_out=_left_out(tree, groups, used))


def pixels_file(pixels: np.ndarray) -> IO[bytes]:
    """A file of the picture with these pixels, uint8 [H, W] or [H, W, C]."""
    from PIL import Image

    return picture_file(
        Image.fromarray(np.ascontiguousarray(pixels.squeeze(2) if pixels.shape[2:] == (1,) else pixels))
    )


def in_words(tree: FileTree) -> str:
    """What the first arrays of a place are."""
    found = [array for group in _groups(tree) for array in group]
    words = ", ".join(f"{array.name} is {array.dtype} {list(array.shape)}" for array in found[:3])
    return f"{words} and {len(found) - 3:,} more" if len(found) > 3 else words


def _groups(tree: FileTree) -> Iterator[list[Array]]:
    """Arrays that belong together: those of an .npz, and the .npy files of the place."""
    for file in tree.files:
        if suffix_of(file) == ".npz":
            yield list(_members(tree, file))
    beside = [file for file in tree.files if suffix_of(file) == ".npy"]
    if beside:
        yield [_array(tree.name(file), file[:-4], partial(tree.open_file, file)) for file in beside]


def _members(tree: FileTree, file: str) -> Iterator[Array]:
    try:
        archive = zipfile.ZipFile(tree.open_file(file))
    except DAMAGED as error:
        raise unreadable(tree.name(file), lambda: tree.open_file(file), error, ZIP) from error
    members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
    most = _check_unpacked(archive, sum(member.file_size for member in members), tree.name(file))
    for member in members:
        key, side = member.filename[:-4], split_of(file.rpartition("/")[2])
        stream, name = partial(archive.open, member), f"{tree.name(file)}, {key}"
        array = _array(name, f"{side}_{key}" if side else key, stream, member.file_size)
        if array.shape and array.shape[0] > most:
            raise InvalidInput(
                f"{name} promises {array.shape[0]:,} rows in {most:,} bytes, so they are not all images."
            )
        yield array


def _check_unpacked(archive: zipfile.ZipFile, unpacked: int, name: str) -> int:
    """The bytes of an .npz. Raises InvalidInput where its arrays have far more: a small file can promise very many."""
    from fewstep.data.archives import ALWAYS, RATIO

    file = cast(IO[bytes], archive.fp)
    size = file.seek(0, os.SEEK_END)
    if unpacked > ALWAYS + RATIO * size:
        raise InvalidInput(
            f"{name} unpacks to more than {RATIO} times its size, as files do that are made to fill a memory. If it is "
            "meant to, save its arrays as .npy files and give their folder."
        )
    return size


def _array(name: str, key: str, stream: Callable[[], IO[bytes]], size: int | None = None) -> Array:
    """The array of a file. size: its bytes, where they are known without reading to its end."""
    try:
        with stream() as file:
            shape, dtype = _header(file)
            start = file.tell()
            left = (file.seek(0, os.SEEK_END) if size is None else size) - start
    except DAMAGED as error:
        raise unreadable(name, stream, error, NUMPY) from error
    row = math.prod(shape[1:]) * dtype.itemsize
    if shape and shape[0] * row > left:  # before memory is asked for as many rows as the header says
        raise InvalidInput(f"{name} cannot be read: it ends in row {left // row:,} of {shape[0]:,}.")
    return Array(name, key, shape, dtype, stream)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and kind of an array, and the file at its first number."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise InvalidInput(f"version {version} of .npy is not read")
    shape, fortran, dtype = readers[version](file)
    if dtype.hasobject:
        raise InvalidInput("it holds Python objects, which are pickles and are not opened")
    if any(side < 0 for side in shape) or 0 in shape[1:]:  # rows without content could be any number
        raise InvalidInput(f"its shape is {list(shape)}")
    if fortran and len(shape) > 1:
        raise InvalidInput("its columns come first (Fortran order); save np.ascontiguousarray of it")
    return shape, dtype


def _pairs(group: list[Array], naming: Naming) -> Iterator[tuple[Array, Array | None, bool]]:
    """(images, their labels, whether they are held out) of each split in a group."""
    for side in dict.fromkeys(split_of(array.key) for array in group):
        arrays = [array for array in group if split_of(array.key) == side]
        labels = _choose_labels(arrays, naming)
        if images := _choose_images(arrays):
            if labels is not None and math.prod(labels.shape) != images.shape[0]:
                raise InvalidInput(
                    f"{labels.name} must hold one number for each of the {images.shape[0]:,} images of {images.name}, "
                    f"got the shape {list(labels.shape)}."
                )
            yield images, labels, side is not None and is_heldout(side)


def _choose_images(arrays: list[Array]) -> Array | None:
    fitting = [array for array in arrays if array.is_images]
    called = [array for array in arrays if array.role in IMAGES]
    chosen = [array for array in fitting if array in called] or fitting
    if len(chosen) > 1:
        raise InvalidInput(
            f"{' and '.join(array.name for array in chosen)} are both images. Keep one of them, or call one 'images'."
        )
    if called and not chosen:
        raise InvalidInput(
            f"{called[0].name} must be uint8 images, [N, H, W, C], [N, C, H, W] or [N, H, W] with 1, 3 or 4 channels, "
            f"got {called[0].dtype} {list(called[0].shape)}."
        )
    return chosen[0] if chosen else None


def _choose_labels(arrays: list[Array], naming: Naming) -> Array | None:
    if naming.unlabelled:
        return None
    wanted = LABELS if naming.column is None else (naming.column,)
    found = next((array for array in arrays if (array.role in wanted or array.key in wanted)), None)
    if found is None and naming.column is not None:
        keys = ", ".join(array.key for array in arrays)
        raise InvalidInput(f"There is no array {naming.column!r} for label_column; there is {keys}.")
    return found


def _labels(array: Array | None, count: int) -> np.ndarray | list[Value]:
    """The labels of an array: int64 [N], or words. None: there are none."""
    if array is None:
        return np.full(count, -1)
    values = array.load().reshape(count) if array.dtype.kind in "iubUS" else None
    if values is None:
        raise InvalidInput(f"{array.name} must hold whole numbers or words, got {array.dtype}.")
    if array.dtype.kind in "iu":
        if values.size and int(values.max()) > np.iinfo(np.int64).max:
            raise InvalidInput(f"{array.name} must hold numbers of classes, got {int(values.max()):,}.")
        return values.astype(np.int64)
    return [value.decode("utf-8", "replace") if isinstance(value, bytes) else value for value in values.tolist()]


def _left_out(tree: FileTree, groups: list[list[Array]], used: set[str]) -> Found:
    found = tree.rest([file for file in tree.files if suffix_of(file) in (".npz", ".npy")])
    for array in (array for group in groups for array in group):
        if array.name not in used:
            add_left_out(found, "arrays that are neither images nor labels", array.name)
    return found
