"""A hostile file is refused, and nothing in it is run."""

import codecs
import io
import os
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from fractions import Fraction

import pytest
import torch

from fewstep.exchange.pickled_modules import Part
from fewstep.exchange.unpickling import LEGACY, STORED, read_pickle, read_state_dict


class Calls:
    """Pickles as a call."""

    def __init__(self, function, *words):
        self.call = (function, words)

    def __reduce__(self):
        return self.call


def told(marker):
    """Ways to leave a file behind, were they run."""
    code = f"open({str(marker)!r}, 'w').close()"
    inner = io.BytesIO()
    torch.save({"x": Calls(os.system, f"touch {marker}")}, inner)
    legacy = io.BytesIO()
    torch.save([Calls(eval, code)], legacy, _use_new_zipfile_serialization=False)
    return {
        "a call of the system": Calls(os.system, f"touch {marker}"),
        "eval": Calls(eval, code),
        "exec": Calls(exec, code),
        "getattr": Calls(getattr, os, "system"),
        "in the state of a module": {"ema": Calls(os.system, f"touch {marker}")},
        "inside a storage": Calls(torch.storage._load_from_bytes, inner.getvalue()),
        "inside a storage, as it was once written": Calls(torch.storage._load_from_bytes, legacy.getvalue()),
        "torch.load": Calls(torch.load, str(marker)),
    }


@pytest.mark.parametrize("way", told("x"))
def test_nothing_is_run(tmp_path, way):
    marker, path = tmp_path / "marker", tmp_path / "bomb.pkl"
    try:
        path.write_bytes(pickle.dumps(told(marker)[way]))
    except (TypeError, pickle.PicklingError):  # os is no object that pickles: its name does as well
        path.write_bytes(b"cbuiltins\ngetattr\n(cos\nsystem\nX\x06\x00\x00\x00__call__tR.")
    with pytest.raises(ValueError, match="nothing in it was run"):
        read_pickle(path)
    assert not marker.exists()
    torch.save(told(marker)[way] if way != "getattr" else [Calls(eval, "1")], path)
    with pytest.raises(ValueError, match="nothing in it was run"):
        read_state_dict(path)
    assert not marker.exists()


def test_the_source_that_a_network_carries_is_not_run(nvidia, tmp_path):
    marker, path = tmp_path / "marker", tmp_path / "network.pkl"
    path.write_bytes(pickle.dumps(nvidia.Persistent("Net", {"a": 1}, source=f"open({str(marker)!r}, 'w')")))
    found = read_pickle(path)
    assert (isinstance(found, Part), found.kind, found.attributes) == (True, "Net", {"a": 1})
    assert not marker.exists()


@pytest.mark.parametrize(
    "name", [("builtins", "object"), ("os", "path.join"), ("torch.nn.modules.module", "a.b"), ("torch", "load")]
)
def test_other_names_are_refused(tmp_path, name):
    path = tmp_path / "x.pkl"
    path.write_bytes(b"c%s\n%s\n." % tuple(part.encode() for part in name))
    with pytest.raises(ValueError, match=f"it asks for {name[0]}.{name[1]}"):
        read_pickle(path)


def test_a_class_is_not_changed(tmp_path):
    """BUILD sets attributes of whatever is on the stack, classes and functions among it."""
    path = tmp_path / "x.pkl"
    path.write_bytes(b"ctorch.nn.modules.linear\nLinear\n(N}X\x04\x00\x00\x00kindX\x04\x00\x00\x00evilstb.")
    with pytest.raises(ValueError, match="it changes a type"):
        read_pickle(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><html>", "it is a web page in place of the file"),
        (b"version https://git-lfs.github.com/spec/v1\n", "it is a Git LFS pointer in place of the file"),
        (b'{"error": "gone"}', "it is text in JSON"),
        (b"", "it is empty"),
        (b"any other text", "it is no pickle, which torch.save and NVIDIA's programs write"),
    ],
)
@pytest.mark.parametrize("read", [read_pickle, read_state_dict])
def test_a_file_of_another_kind_is_called_what_it_is(tmp_path, read, content, words):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(ValueError, match=f"x.pt is of another kind or is damaged, and nothing in it was run: {words}"):
        read(tmp_path / "x.pt")


def test_the_file_of_another_program_is_called_what_it_is(tmp_path):
    torch.save({"a.b": torch.zeros(3)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="nothing in it was run: it is a zip archive$"):
        read_pickle(tmp_path / "x.pt")
    (tmp_path / "y.pt").write_bytes((tmp_path / "x.pt").read_bytes()[:-100])
    with pytest.raises(ValueError, match="nothing in it was run: File is not a zip file$"):
        read_state_dict(tmp_path / "y.pt")


def test_tensors_come_as_they_were(tmp_path):
    given = {
        "view": torch.arange(12.0).reshape(3, 4)[:, 1:].t(),
        "half": torch.randn(3).half(),
        "parameter": torch.nn.Parameter(torch.randn(2, 2)),
        "integers": torch.arange(5),
        "scalar": torch.tensor(2.5),
    }
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(given))
    found = read_pickle(tmp_path / "x.pkl")
    assert all(torch.equal(found[name], value) and found[name].dtype == value.dtype for name, value in given.items())


def test_a_tensor_beyond_its_storage_is_refused(tmp_path):
    content = pickle.dumps(torch.zeros(7), protocol=2)
    sizes = [position for op, arg, position in pickletools.genops(content) if op.name == "BININT1" and arg == 7]
    assert sizes
    for position in sizes:
        content = content[: position + 1] + b"\xff" + content[position + 2 :]
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(ValueError, match="of another kind or is damaged"):
        read_pickle(tmp_path / "x.pkl")


def views(size, stride, count):
    """Tensors of one storage of 1000 numbers."""
    storage = torch.storage.TypedStorage(
        wrap_storage=torch.zeros(1000).untyped_storage(), dtype=torch.float32, _internal=True
    )
    return [Calls(torch._utils._rebuild_tensor_v2, storage, 0, size, stride, False, {}) for _ in range(count)]


@pytest.mark.parametrize("content", [views((10**15,), (0,), 1), views((1000,), (1,), 3)])
def test_what_a_file_does_not_hold_is_not_made_of_it(tmp_path, content):
    """A stride of 0 makes any number of numbers of one, and so do many tensors of one storage."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(ValueError, match="more numbers than the file holds"):
        read_pickle(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(views((1000,), (1,), 1)))
    assert len(read_pickle(tmp_path / "x.pkl")[0]) == 1000


def doubled(depth=20):
    """A tuple of two references to one of two, and so on: 2^depth to hash, few bytes to write."""
    found = ()
    for _ in range(depth):
        found = (found, found)
    return found


@pytest.mark.parametrize(
    "content",
    [
        {doubled(): 1},
        {"a": 1, doubled(): 2},
        {doubled()},
        frozenset([doubled()]),
        OrderedDict({doubled(): 1}),
        Calls(OrderedDict, [(doubled(), 1)]),
        b"((tI1\nd.",
    ],
    ids=["key", "keys", "set", "frozen", "ordered", "pairs", "protocol 0"],
)
def test_keys_that_take_long_to_hash_are_refused(tmp_path, content):
    path = tmp_path / "x.pkl"
    path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content))
    with pytest.raises(ValueError, match="a tuple is a key in it"):
        read_pickle(path)


def test_an_encoding_is_not_looked_up(tmp_path):
    path = tmp_path / "x.pkl"
    path.write_bytes(pickle.dumps(Calls(codecs.encode, "x", doubled())))
    with pytest.raises(ValueError, match="bytes that are not latin1"):
        read_pickle(path)


@pytest.mark.parametrize("protocol", range(5))
def test_plain_data_come_as_they_were(tmp_path, protocol):
    given = {"a": [1, (2.5, None)], 3: {"b": True}, None: OrderedDict(x=1), b"bytes": (doubled(3), doubled(3))}
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(given, protocol))
    assert read_pickle(tmp_path / "x.pkl") == given


def holding(length, *names):
    """A chain of modules that each hold the next one by these names."""
    module = torch.nn.Identity()
    for _ in range(length):
        outer = torch.nn.Identity()
        outer._modules = dict.fromkeys(names, module)
        module = outer
    return module


def tied():
    module, weight = torch.nn.Identity(), torch.nn.Parameter(torch.zeros(2))
    module._parameters = {"a": weight, "b": weight}
    return module


@pytest.mark.parametrize(
    "module", [holding(35, "a", "b"), holding(8, "a" * 200), tied()], ids=["twice", "deep", "tied"]
)
def test_modules_that_make_more_names_than_the_file_has_are_refused(tmp_path, module):
    """A chain of 35 that hold the next one twice has 2^35 names."""
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(module))
    with pytest.raises(ValueError, match="occurs twice, or too deep"):
        read_pickle(tmp_path / "x.pkl").tensors()


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"_modules": {"a": 1}}, "a is not a part"),
        ({"_modules": [1]}, "_modules of a Identity is list"),
        ({"_parameters": {"a": 1}}, "a is not a tensor"),
    ],
)
def test_modules_of_other_things_are_refused(tmp_path, attributes, words):
    module = torch.nn.Identity()
    module.__dict__.update(attributes)
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(module))
    with pytest.raises(ValueError, match=words):
        read_pickle(tmp_path / "x.pkl").tensors()


def test_a_module_without_attributes_has_no_tensors(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"ctorch.nn.modules.linear\nLinear\n)R.")
    assert read_pickle(tmp_path / "x.pkl").tensors() == {}


STORAGE = torch.storage.TypedStorage(
    wrap_storage=torch.zeros(999).untyped_storage(), dtype=torch.float32, _internal=True
)


@pytest.mark.parametrize(
    ("function", "given", "words"),
    [
        (codecs.encode, ("x" * 999, "latin1"), "text"),
        (torch.Size, (list(range(999)),), "sizes"),
        (OrderedDict, (dict.fromkeys(range(999)),), "entries"),
        (torch.storage._load_from_bytes, STORAGE.__reduce__()[1], "storages"),
    ],
)
def test_what_is_made_of_one_thing_again_and_again_is_no_more_than_the_file(tmp_path, function, given, words):
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([Calls(function, *given) for _ in range(9)]))
    with pytest.raises(ValueError, match=f"it makes more {words} than the file holds"):
        read_pickle(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Calls(function, *given)))
    read_pickle(tmp_path / "x.pkl")


def test_a_state_dictionary_of_more_than_its_file_is_refused(tmp_path):
    torch.save({"w": torch.zeros(1).expand(10**15)}, tmp_path / "x.pt")
    with pytest.raises(ValueError, match="more numbers than the file holds"):
        read_state_dict(tmp_path / "x.pt")
    torch.save({"w": torch.zeros(1000)}, tmp_path / "whole.pt")
    with (
        zipfile.ZipFile(tmp_path / "whole.pt") as whole,
        zipfile.ZipFile(tmp_path / "x.pt", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for name in whole.namelist():
            packed.writestr(name, whole.read(name))
    with pytest.raises(ValueError, match="it is compressed"):
        read_state_dict(tmp_path / "x.pt")
    assert len(read_state_dict(tmp_path / "whole.pt")["w"]) == 1000


def written(path, content, new=True):
    torch.save(content, path, _use_new_zipfile_serialization=new)
    return path


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", STORED)
def test_a_state_dictionary_is_what_torch_load_makes_of_it(tmp_path, name, new):
    dtype, generator = getattr(torch, name), torch.Generator().manual_seed(0)
    most = 2 if name == "bool" else 256
    numbers = torch.randint(most, (24 * dtype.itemsize,), dtype=torch.uint8, generator=generator).view(dtype)
    given = OrderedDict(
        rows=numbers[:12].reshape(3, 4)[:, 1:].t(),
        every_other=numbers[::2],  # of the same storage
        weight=torch.nn.Parameter(numbers[:6].clone().reshape(2, 3), requires_grad=dtype.is_floating_point),
        scalar=numbers[3].clone(),
        empty=numbers[:0].clone(),
    )
    given._metadata = OrderedDict(version=1)
    path = written(tmp_path / "x.pt", given, new)
    found, expected = read_state_dict(path), torch.load(path, weights_only=True)
    assert list(found) == list(expected)
    for key, tensor in expected.items():
        assert (found[key].dtype, found[key].shape, found[key].stride()) == (dtype, tensor.shape, tensor.stride())
        bits = [each.detach().contiguous().reshape(-1).view(torch.uint8) for each in (found[key], tensor)]
        assert torch.equal(*bits)
    places = {key: found[key].untyped_storage().data_ptr() for key in ("rows", "every_other", "weight")}
    assert places["rows"] == places["every_other"] != places["weight"]


class Stored:
    """Pickles as a storage of so many numbers, under this key."""

    def __init__(self, key, count):
        self.pid = ("storage", torch.FloatStorage, key, "cpu", count)


class Naming(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.pid if isinstance(thing, Stored) else None


def zipped(path, content, **entries):
    """A file as torch.save's of this content, with these bytes for its storages and what else is in it."""
    program = io.BytesIO()
    Naming(program, 2).dump(content)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x/data.pkl", program.getvalue())
        for name, entry in entries.items():
            archive.writestr(f"x/{name.replace('_', '/')}", entry)
    return path


def tensor(key, count):
    return Calls(torch._utils._rebuild_tensor_v2, Stored(key, count), 0, (count,), (1,), False, {})


def test_a_storage_is_no_longer_than_its_entry(tmp_path):
    whole = zipped(tmp_path / "x.pt", {"w": tensor("0", 999)}, data_0=bytes(3996))
    assert len(read_state_dict(whole)["w"]) == 999
    for words, content, entries in [
        ("a storage is shorter than it says", {"w": tensor("0", 999)}, {"data_0": bytes(99), "rest": bytes(4000)}),
        ("more storages than the file holds", {"w": tensor("0", 10**12)}, {"data_0": bytes(99)}),
        ("more storages than the file holds", [tensor(key, 999) for key in "0123"], {"data_0": bytes(3996)}),
        ("a tuple is a key", {"w": tensor(doubled(), 9)}, {"data_0": bytes(99)}),
        ("the other byte order", {"w": tensor("0", 9)}, {"data_0": bytes(36), "byteorder": b"big"}),
    ]:
        with pytest.raises(ValueError, match=words):
            read_state_dict(zipped(tmp_path / "x.pt", content, **entries))


def test_a_storage_of_the_legacy_format_is_as_long_as_it_says(tmp_path):
    whole = written(tmp_path / "x.pt", {"w": torch.ones(999)}, new=False).read_bytes()
    length = whole.rindex((999).to_bytes(8, "little"))
    start = b"".join(pickle.dumps(part, 2) for part in (*LEGACY, {}, {}))
    for words, content in [
        ("a storage is shorter than it says", whole[:-99]),
        ("a storage is not as long as it says", whole[:length] + b"\xff" + whole[length + 1 :]),
        ("more storages than the file holds", whole[:length]),
        ("storages are not those that it names", start + pickle.dumps(["0"], 2) + bytes(8)),
        ("a tuple is a key", start + pickle.dumps([doubled()], 2)),
        ("not what torch.save writes", pickle.dumps(LEGACY[0]) + pickle.dumps(1002)),
    ]:
        (tmp_path / "x.pt").write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_state_dict(tmp_path / "x.pt")


@pytest.mark.parametrize("new", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({doubled(): torch.zeros(1)}, "a tuple is a key"),
        ({"w": Calls(bytearray, 10**12)}, "asks for __builtin__.bytearray"),
        ({"w": Calls(torch.Tensor, 10**12)}, "asks for torch.Tensor"),
        ({"w": Fraction(1, 2)}, "asks for fractions.Fraction"),
        ({1: torch.zeros(1)}, "not a state dictionary"),
    ],
    ids=["key", "bytearray", "tensor", "class", "number"],
)
def test_a_hostile_state_dictionary_is_refused(tmp_path, content, words, new):
    with pytest.raises(ValueError, match=words):
        read_state_dict(written(tmp_path / "x.pt", content, new))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"\x80\x05\x96" + (10**12).to_bytes(8, "little") + b".", "it has a bytearray"),
        (pickle.dumps(torch.zeros(1), 2)[:-1] + b"(K\x00K\x00)tb.", "it changes a Tensor"),
    ],
    ids=["bytearray", "tensor"],
)
def test_opcodes_that_take_any_memory_are_refused(tmp_path, content, words):
    """BUILD gives a tensor a storage, and that takes as much memory as the shape says."""
    (tmp_path / "x.pkl").write_bytes(content)
    with pytest.raises(ValueError, match=words):
        read_pickle(tmp_path / "x.pkl")


@pytest.mark.parametrize("name", ["../evil", "x/../../evil", "/evil"])
def test_a_zip_with_a_way_out_is_refused_and_writes_nothing(tmp_path, name):
    (place := tmp_path / "a" / "b").mkdir(parents=True)
    torch.save({"w": torch.zeros(9)}, place / "x.pt")
    with zipfile.ZipFile(place / "x.pt", "a") as archive:
        archive.writestr(name, b"evil")
    with pytest.raises(ValueError, match="paths that lead out of it"):
        read_state_dict(place / "x.pt")
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [place / "x.pt"]


@pytest.mark.parametrize("content", [b"", b"nonsense", b"\x80\x04", b"." * 9, b"(" * 100_000 + b"l" * 100_000])
def test_what_is_no_pickle_is_an_error_in_words(tmp_path, content):
    (tmp_path / "x.pkl").write_bytes(content)
    for read in (read_pickle, read_state_dict):
        with pytest.raises(ValueError, match="x.pkl is of another kind or is damaged|not a state dictionary"):
            read(tmp_path / "x.pkl")
    with pytest.raises(ValueError, match="there is no file"):
        read_pickle(tmp_path / "none.pkl")
