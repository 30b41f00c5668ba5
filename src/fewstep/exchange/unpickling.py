"""Pickles of tensors and plain data, read without running anything that is in them.

A pickle is a program: it names functions and has them called. Here every name is looked up in a short list of our own,
made anew for each file, and any other name refuses the file.
"""

import io
import pickle
import sys
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from fewstep.exchange.pickled_modules import Part
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.file_kinds import ZIP, kind_of_file

PARTS = ("torch.nn.modules.",)  # their instances are kept as Parts
STORED = {  # types of numbers, and what torch.save calls a storage of them
    "float64": "Double", "float32": "Float", "float16": "Half", "bfloat16": "BFloat16", "int64": "Long",
    "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
}  # fmt: skip
PROTOCOL = b"\x80"  # how a pickle begins since protocol 2, which torch.save and NVIDIA write
LEGACY = [0x1950A86A20F9469CFC6C, 1001]  # a file of torch.save before 1.6, and the storages in NVIDIA's, begin so
KEYS = str | bytes | int | float | None
HASHED = {  # opcodes, and where on the stack is what they hash
    pickle.SETITEM[0]: slice(-2, -1),
    pickle.SETITEMS[0]: slice(None, None, 2),
    pickle.DICT[0]: slice(None, None, 2),
    pickle.ADDITEMS[0]: slice(None),
    pickle.FROZENSET[0]: slice(None),
}


def read_pickle(path: Path | str) -> Any:
    """NVIDIA's way to store networks: dictionaries of Parts. ValueError for anything but tensors and plain data."""
    return _reading(path, lambda file, size: _Reader(file, size).load())


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """A state dictionary as torch.save writes it. ValueError for anything else than tensors by their names."""
    found = _reading(path, _saved)
    if not isinstance(found, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in found.items()):
        raise InvalidInput(f"{path} is not a state dictionary (tensors by their names, as torch.save writes them).")
    return dict(found)


def _saved(file: io.BufferedIOBase, size: int) -> Any:
    """What torch.save wrote, in its zip or as before 1.6."""
    start = file.read(4)
    file.seek(0)
    return _zipped(file, size) if start == b"PK\x03\x04" else _legacy(file, size)


def _zipped(file: io.BufferedIOBase, size: int) -> Any:
    """A pickle, and beside it each storage as bytes."""
    with zipfile.ZipFile(file) as archive:
        entries = {entry.filename: entry for entry in archive.infolist()}
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries.values()):
            raise Refused("it is compressed, which torch.save does not do")  # what is packed may grow at will
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in entries):
            raise Refused("it is a zip with paths that lead out of it")
        folder = next((name.removesuffix("data.pkl") for name in entries if name.endswith("/data.pkl")), None)
        if folder is None:
            raise Refused("it is a zip of other things than torch.save's")
        if (order := f"{folder}byteorder") in entries and archive.read(order).decode() != sys.byteorder:
            raise Refused("it was written on a machine of the other byte order")
        reader = _SavedReader(io.BytesIO(archive.read(f"{folder}data.pkl")), size)
        found = reader.load()
        for key, storage in reader.storages.items():
            with archive.open(f"{folder}data/{key}") as entry:
                assert isinstance(entry, io.BufferedIOBase)
                _fill(storage, entry)
    return found


def _legacy(file: io.BufferedIOBase, size: int) -> Any:
    """Pickles: a number, a version, the machine, what was saved, and its storages' keys; then each storage as bytes."""
    reader = _SavedReader(file, size)
    if [reader.load(), reader.load()] != LEGACY:
        raise Refused("it is not what torch.save writes")
    _, found, keys = reader.load(), reader.load(), reader.load()
    _check_keys(keys)
    if sorted(keys) != sorted(reader.storages):
        raise Refused("its storages are not those that it names")
    for key in keys:
        if int.from_bytes(file.read(8), "little") != len(reader.storages[key]):
            raise Refused("a storage is not as long as it says")
        _fill(reader.storages[key], file)
    return found


def _fill(storage: Tensor, file: io.BufferedIOBase) -> None:
    content = storage.view(torch.uint8).numpy()
    if file.readinto(content.data) != len(content):
        raise Refused("a storage is shorter than it says")


def _reading(path: Path | str, read: Callable[[io.BufferedIOBase, int], Any]) -> Any:
    """What is read of a file and its size in bytes; ValueError for whatever goes wrong."""
    path = Path(path)
    if not path.is_file():
        raise InvalidInput(f"there is no file {path}.")
    other = f"{path} is of another kind or is damaged, and nothing in it was run:"
    if (kind := kind_of_file(path)) and (kind != ZIP or read is not _saved):
        raise InvalidInput(f"{other} it is {kind}")
    try:
        with path.open("rb") as file:
            return read(file, path.stat().st_size)
    except Refused as problem:
        raise InvalidInput(f"{path} is refused, and nothing in it was run: {problem}.") from None
    except Exception as problem:  # a damaged pickle can raise anything
        raise InvalidInput(f"{other} {_reason(path, problem)}") from None


def _reason(path: Path, problem: Exception) -> str:
    """What went wrong, on one line."""
    if path.read_bytes()[:1] not in (PROTOCOL, b"P"):  # a zip begins with P
        return "it is no pickle, which torch.save and NVIDIA's programs write"
    return reason_of(problem).splitlines()[0][:300]


class Refused(Exception):
    """What is neither a tensor nor plain data, or more than the file."""


def _of_plain_keys(load: Callable, hashed: slice) -> Callable:
    """The load of an opcode, after a look at what on the stack it would hash.

    A tuple of two references to one of two, and so on, 60 deep, is hashed in 2^60 steps.
    """

    def checked(reader: "_Reader") -> None:
        _check_keys(reader.stack[hashed])
        load(reader)

    return checked


def _check_keys(keys: Iterable) -> None:
    for key in keys:
        if not isinstance(key, KEYS):
            raise Refused(f"a {type(key).__name__} is a key in it, and only texts and numbers are")


# Private: pickle has no public interpreter in Python, and that in C calls no method for an opcode.
# pyright: reportPrivateUsage=false
class _Reader(pickle._Unpickler):
    """In Python, where an opcode can be watched."""

    stack: list[Any]  # of the interpreter, which pickle makes
    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = {
        **pickle._Unpickler.dispatch,
        **{code: _of_plain_keys(pickle._Unpickler.dispatch[code], hashed) for code, hashed in HASHED.items()},
    }

    def __init__(self, file: io.BufferedIOBase, size: int):
        super().__init__(file)
        self.spend = _purse(size)
        self._known = _known(self.spend)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        if module.startswith(PARTS) and name.isidentifier():
            return self._known.setdefault((module, name), type(name, (Part,), {"kind": name}))
        raise Refused(f"it asks for {module}.{name}, and only tensors and plain data are read")

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it refers to data outside the file")

    def load_build(self) -> None:
        """Attributes of a Part; a mapping has its entries alone."""
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Part):
            target.__setstate__(state)
        elif not isinstance(target, dict):  # a tensor would take any size as its own
            raise Refused(f"it changes a {type(target).__name__}")

    def load_bytearray8(self) -> None:
        raise Refused("it has a bytearray, which is made as large as it says before it is read")

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8


class _SavedReader(_Reader):
    """Of torch.save's pickles, which name storages that come after: `storages`, still to be filled."""

    def __init__(self, file: io.BufferedIOBase, size: int):
        super().__init__(file, size)
        self.storages: dict[str, Tensor] = {}

    def persistent_load(self, pid: Any) -> Tensor:
        kind, dtype, key, _, count, *view = pid
        _check_keys([key])
        if kind != "storage" or any(view):
            raise Refused("it refers to data outside the file")
        if key not in self.storages:
            self.spend("storages", count * dtype.itemsize)
            self.storages[key] = torch.empty(count, dtype=dtype)
        return self.storages[key]


def _purse(file_size: int) -> Callable[[str, int], None]:
    """What is made of things that a file may name again and again is together no larger than the file, in bytes."""
    spent = Counter()

    def spend(kind: str, size: int) -> None:
        spent[kind] += size
        if spent[kind] > file_size:
            raise Refused(f"it makes more {kind} than the file holds")

    return spend


def _known(spend: Callable[[str, int], None]) -> dict[tuple[str, str], Any]:
    """All that a pickle may call, fresh objects of our own, so that none can be changed for the next file."""

    def rebuilt(storage: Tensor, offset: int, size: Sequence[int], stride: Sequence[int], *_: Any) -> Tensor:
        view = torch.as_strided(storage, size, stride, offset)  # checks the bounds, and takes no memory
        spend("numbers", view.numel() * view.itemsize)
        return view

    def parameter(data: Tensor, *_: Any) -> Tensor:
        return data

    def storage(content: bytes) -> Tensor:
        spend("storages", len(content))
        return _legacy(io.BytesIO(content), len(content))

    def encoded(text: str, encoding: str) -> bytes:
        spend("text", len(text))
        if encoding != "latin1":
            raise Refused("it has bytes that are not latin1")
        return text.encode(encoding)

    def persistent(meta: dict) -> Part:
        part = type(meta["class_name"], (Part,), {"kind": meta["class_name"]})()
        part.__setstate__(meta["state"])
        return part

    def sizes(values: Sequence[int] = ()) -> tuple:
        spend("sizes", len(values))
        return tuple(values)

    def mapping() -> type[dict]:
        def start(self: dict[Any, Any], given: Any = ()) -> None:
            spend("entries", len(given))
            _check_keys(pair[0] for pair in ([] if isinstance(given, dict) else given))
            dict.__init__(self, given)

        return type("Plain", (dict,), {"__init__": start})

    return {
        ("collections", "OrderedDict"): mapping(),
        ("dnnlib.util", "EasyDict"): mapping(),
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): persistent,
        ("_codecs", "encode"): encoded,  # bytes of an older protocol
        ("torch._utils", "_rebuild_tensor_v2"): rebuilt,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch.storage", "_load_from_bytes"): storage,
        ("torch", "Size"): sizes,
        ("torch", "device"): lambda *words: words,
        **{("torch", name): getattr(torch, name) for name in STORED},
        **{("torch", f"{word}Storage"): getattr(torch, name) for name, word in STORED.items()},
    }
