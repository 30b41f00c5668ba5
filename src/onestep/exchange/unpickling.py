"""Pickles of tensors and plain data, read without running anything that is in them.

A pickle is a program: it names functions and has them called. Here every name is looked up in a short list of our own,
made anew for each file, and any other name refuses the file.
"""

import io
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

PARTS = ("torch.nn.modules.",)  # their instances are kept as Parts
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


class Part:
    """What a pickle says of an object: the name of its class, and its attributes as plain data."""

    kind = "Part"

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, Mapping):
            raise ValueError(f"a {self.kind} whose attributes are {type(state).__name__}")
        self.__dict__["attributes"] = state

    @property
    def modules(self) -> Mapping[str, "Part"]:
        return self.attributes.get("_modules") or {}

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and buffers of a torch.nn.Module, by their full names."""
        own = {**(self.attributes.get("_parameters") or {}), **(self.attributes.get("_buffers") or {})}
        found = {name: value for name, value in own.items() if value is not None}
        if odd := [name for name, value in found.items() if not isinstance(value, Tensor)]:
            raise ValueError(f"{odd[0]} is no tensor")
        for name, part in self.modules.items():
            if part is not None:
                found |= {f"{name}.{inner}": value for inner, value in part.tensors().items()}
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


class _Reader(pickle.Unpickler):
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

    file_size: bytes, which all tensors together do not exceed.
    """
    rebuilt_bytes = 0

    def rebuilt(storage, offset, size, stride, *_) -> Tensor:
        nonlocal rebuilt_bytes
        view = torch.as_strided(storage, tuple(size), tuple(stride), offset)  # checks the bounds, and takes no memory
        rebuilt_bytes += view.numel() * view.itemsize
        if rebuilt_bytes > file_size:
            raise Refused(f"a tensor of the size {tuple(view.shape)} has more numbers than the file holds")
        return view.clone()

    def parameter(data, *_) -> Tensor:
        return data

    def storage(content: bytes) -> Tensor:
        stored = _load(io.BytesIO(content))
        untyped = stored._untyped_storage
        return torch.tensor([], dtype=stored.dtype).set_(untyped, 0, (untyped.nbytes() // stored.dtype.itemsize,))

    def encoded(text: str, encoding: str) -> bytes:
        return str(text).encode({"latin1": "latin1"}[encoding])

    def persistent(meta: dict) -> Part:
        part = type(str(meta["class_name"]), (Part,), {"kind": str(meta["class_name"])})()
        part.__setstate__(meta["state"])
        return part

    def mapping() -> type[dict]:
        return type("Plain", (dict,), {})

    return {
        ("collections", "OrderedDict"): mapping(),
        ("dnnlib.util", "EasyDict"): mapping(),
        ("torch_utils.persistence", "_reconstruct_persistent_obj"): persistent,
        ("_codecs", "encode"): encoded,  # bytes of an older protocol
        ("torch._utils", "_rebuild_tensor_v2"): rebuilt,
        ("torch._utils", "_rebuild_parameter"): parameter,
        ("torch.storage", "_load_from_bytes"): storage,
        ("torch", "Size"): lambda values=(): tuple(values),
        ("torch", "device"): lambda *words: str(words),
        **{("torch", name): getattr(torch, name) for name in DTYPES},
    }
