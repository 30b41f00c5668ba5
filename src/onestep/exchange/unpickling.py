"""Pickles of tensors and plain data, read without running anything that is in them.

A pickle is a program: it names functions and has them called. Here every name is looked up in a short list of our own,
made anew for each file, and any other name refuses the file.
"""

import io
import pickle
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

PARTS = ("torch.nn.modules.",)  # their instances are kept as Parts
LONGEST = 1000  # characters of a tensor's full name, so that depth costs no more than the file has
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")
KEYS = str | bytes | int | float | None
HASHED = {  # opcodes, and where on the stack is what they hash
    pickle.SETITEM[0]: slice(-2, -1),
    pickle.SETITEMS[0]: slice(None, None, 2),
    pickle.DICT[0]: slice(None, None, 2),
    pickle.ADDITEMS[0]: slice(None),
    pickle.FROZENSET[0]: slice(None),
}


class Part:
    """What a pickle says of an object: the name of its class, and its attributes as plain data."""

    kind = "Part"
    attributes: Mapping = MappingProxyType({})

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise ValueError(f"a {self.kind} whose attributes are {type(state).__name__}")
        self.__dict__["attributes"] = state

    @property
    def modules(self) -> Mapping[str, "Part"]:
        return self._mapping("_modules")

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of a torch.nn.Module, by their full names.

        ValueError where something is met twice: a chain of n modules that hold the next one twice has 2^n names.
        """
        found, met, left = {}, set(), [("", self)]
        while left:
            prefix, part = left.pop()
            for name, value in part._own():
                full = prefix + name
                if id(value) in met or len(full) > LONGEST:
                    raise ValueError(f"{full[:80]} is met twice, or too deep")
                met.add(id(value))
                if isinstance(value, Part):
                    left.append((f"{full}.", value))
                else:
                    found[full] = value
        return found

    def _own(self) -> Iterator[tuple[str, "Tensor | Part"]]:
        """Parameters, buffers and modules by their own names."""
        for group, kind in (("_parameters", Tensor), ("_buffers", Tensor), ("_modules", Part)):
            for name, value in self._mapping(group).items():
                if not isinstance(value, kind | None):
                    raise ValueError(f"{name} is no {kind.__name__.lower()}")
                if value is not None:
                    yield name, value

    def _mapping(self, name: str) -> Mapping[str, Any]:
        found = self.attributes.get(name) or {}
        if not isinstance(found, Mapping):
            raise ValueError(f"{name} of a {self.kind} is {type(found).__name__}")
        return found


def read_pickle(path: Path | str) -> Any:
    """NVIDIA's way to store networks: dictionaries of Parts. ValueError for anything but tensors and plain data."""
    return _reading(path, lambda file: _Reader(file, Path(path).stat().st_size).load())


def read_state_dict(path: Path | str) -> dict[str, Tensor]:
    """A state dictionary as torch.save writes it. ValueError for anything else than tensors by their names."""
    found = _reading(path, _load)
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise ValueError(f"{path} is no state dictionary: tensors by their names, as torch.save writes them.")
    if sum(value.numel() * value.itemsize for value in found.values()) > Path(path).stat().st_size:
        raise ValueError(f"{path} is refused: its tensors have more numbers than the file holds.")
    return dict(found)


def _load(file: BinaryIO) -> Any:
    """What torch.save wrote, uncompressed as it does: what is packed may grow at will."""
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                raise Refused("it is compressed, which torch.save does not do")
    file.seek(0)
    return torch.load(file, map_location="cpu", weights_only=True)


def _reading(path: Path | str, read: Callable) -> Any:
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"there is no file {path}.")
    try:
        with path.open("rb") as file:
            return read(file)
    except Refused as problem:
        raise ValueError(f"{path} is refused, and nothing in it was run: {problem}.") from None
    except Exception as problem:  # a damaged pickle can raise anything
        words = (str(problem).strip() or type(problem).__name__).splitlines()[0][:300]
        raise ValueError(f"{path} is refused or damaged, and nothing in it was run: {words}") from None


class Refused(Exception):
    """A name that is neither a tensor's nor plain data's."""


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


class _Reader(pickle._Unpickler):
    """In Python, where an opcode can be watched."""

    dispatch: ClassVar = {
        **pickle._Unpickler.dispatch,
        **{code: _of_plain_keys(pickle._Unpickler.dispatch[code], hashed) for code, hashed in HASHED.items()},
    }

    def __init__(self, file: BinaryIO, size: int):
        super().__init__(file)
        self._known = _known(size)

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in self._known:
            return self._known[module, name]
        if module.startswith(PARTS) and name.isidentifier():
            return self._known.setdefault((module, name), type(name, (Part,), {"kind": name}))
        raise Refused(f"it asks for {module}.{name}, and only tensors and plain data are read")

    def persistent_load(self, pid: Any) -> Any:
        raise Refused("it refers to data outside the file")


def _known(file_size: int) -> dict[tuple[str, str], Any]:
    """All that a pickle may call, fresh objects of our own, so that none can be changed for the next file.

    file_size: bytes. What is made anew of things that a file may name again and again is together no larger.
    """
    spent = Counter()

    def spend(kind: str, size: int) -> None:
        spent[kind] += size
        if spent[kind] > file_size:
            raise Refused(f"it makes more {kind} than the file holds")

    def rebuilt(storage, offset, size, stride, *_) -> Tensor:
        view = torch.as_strided(storage, tuple(size), tuple(stride), offset)  # checks the bounds, and takes no memory
        spend("numbers", view.numel() * view.itemsize)
        return view.clone()

    def parameter(data, *_) -> Tensor:
        return data

    def storage(content: bytes) -> Tensor:
        spend("storages", len(content))
        stored = _load(io.BytesIO(content))
        untyped = stored._untyped_storage
        return torch.tensor([], dtype=stored.dtype).set_(untyped, 0, (untyped.nbytes() // stored.dtype.itemsize,))

    def encoded(text: str, encoding: str) -> bytes:
        spend("text", len(text))
        if encoding != "latin1":
            raise Refused("it has bytes that are not latin1")
        return text.encode(encoding)

    def persistent(meta: dict) -> Part:
        part = type(meta["class_name"], (Part,), {"kind": meta["class_name"]})()
        part.__setstate__(meta["state"])
        return part

    def sizes(values=()) -> tuple:
        spend("sizes", len(values))
        return tuple(values)

    def mapping() -> type[dict]:
        def start(self, given=()) -> None:
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
        **{("torch", name): getattr(torch, name) for name in DTYPES},
    }
