"""Files as their authors write them: the reference networks' names and shapes, with weights drawn by name."""

import pickle
import resource
import sys
import types
from collections import OrderedDict
from contextlib import contextmanager

import pytest
import torch

from fewstep.exchange import export_model


@pytest.fixture
def nvidia(monkeypatch):
    """What pickles as NVIDIA's persistent objects do: (class, attributes) by their function, with their source."""
    persistence, util = types.ModuleType("torch_utils.persistence"), types.ModuleType("dnnlib.util")

    def _reconstruct_persistent_obj(meta):
        raise AssertionError("their code was run")

    class EasyDict(dict):
        pass

    for thing, module in ((_reconstruct_persistent_obj, persistence), (EasyDict, util)):
        thing.__module__, thing.__qualname__ = module.__name__, thing.__name__
        setattr(module, thing.__name__, thing)
    for module in (types.ModuleType("torch_utils"), types.ModuleType("dnnlib"), persistence, util):
        monkeypatch.setitem(sys.modules, module.__name__, module)

    class Persistent:
        def __init__(self, name, state, source="raise SystemExit('their code was run')"):
            self.meta = {"type": "class", "version": 6, "module_src": source, "class_name": name, "state": state}

        def __reduce__(self):
            return _reconstruct_persistent_obj, (self.meta,), None

    return types.SimpleNamespace(Persistent=Persistent, EasyDict=EasyDict)


@pytest.fixture
def network_pickle(nvidia, tmp_path):
    """A function of (reference, class of the preconditioning, its attributes) -> the pickle of such a network."""

    def module(name, parameters, buffers, **state):
        """Named tensors as a tree of modules."""
        own = {n: torch.nn.Parameter(t, requires_grad=False) for n, t in parameters.items() if "." not in n}
        kept = {n: t for n, t in buffers.items() if "." not in n}
        inside = OrderedDict()
        for child in dict.fromkeys(n.partition(".")[0] for n in (*parameters, *buffers) if "." in n):
            below = [
                {n.partition(".")[2]: t for n, t in tensors.items() if n.partition(".")[0] == child and "." in n}
                for tensors in (parameters, buffers)
            ]
            inside[child] = module("Layer", *below)
        if name == "Layer" and not own and not kept:  # the blocks lie in a plain container
            container = torch.nn.ModuleDict()
            container._modules = dict(inside)
            return container
        state |= {"training": False, "_parameters": OrderedDict(own), "_buffers": OrderedDict(kept)}
        state |= {"_non_persistent_buffers_set": set(), "_modules": inside, "_forward_hooks": OrderedDict()}
        return nvidia.Persistent(name, state)

    def options(reference):
        return nvidia.EasyDict({key: value for key, value in reference.config.items() if key != "model_type"})

    def saved(outer, **others):
        content = {"ema": outer, "loss_fn": nvidia.Persistent("EDMLoss", {"P_mean": -1.2}), "augment_pipe": None}
        content |= {"dataset_kwargs": nvidia.EasyDict(path="datasets/cifar10.zip"), **others}
        path = tmp_path / "network.pkl"
        path.write_bytes(pickle.dumps(content))
        return path

    def edm2(reference, encoder="StandardRGBEncoder", says_its_arguments=True, **attributes):
        """As EDM2's: half precision, the network beside the log-variance."""
        halves = [{n: t.half() for n, t in part.items()} for part in (reference.parameters, reference.buffers)]
        outer = module("Precond", *halves, **{"sigma_data": 0.5, "use_fp16": True} | attributes)
        inner = outer.meta["state"]["_modules"]["unet"]
        inner.meta["class_name"] = "UNet"
        if says_its_arguments:
            inner.meta["state"] |= {"_init_args": (), "_init_kwargs": options(reference)}
        return saved(outer, encoder=nvidia.Persistent(encoder, {}))

    def write(reference, kind="EDMPrecond", **attributes):
        if kind == "Precond":
            return edm2(reference, **attributes)
        inner = module(
            reference.config["model_type"],
            reference.parameters,
            reference.buffers,
            _init_args=(),
            _init_kwargs=options(reference),
        )
        outer = module(kind, {}, {}, **{"sigma_data": 0.5, "sigma_max": float("inf"), "use_fp16": False} | attributes)
        outer.meta["state"]["_modules"]["model"] = inner
        return saved(outer)

    return write


@contextmanager
def files_of_at_most(size: int):
    """Whatever writes more bytes to a file of this process fails in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.fixture
def whole_or_not_at_all(tmp_path):
    """A function of (model, format): an export that fails leaves an older one as it is, and else nothing."""

    def contents():
        return {file: file.is_file() and file.read_bytes() for file in tmp_path.rglob("*")}

    def check(model, kind):
        older = tmp_path / "out"
        if kind in ("folder", "diffusers"):
            export_model(model, older, kind)
        else:
            older.write_bytes(b"an older export")
        before = contents()
        for name in ("out", "new"):
            with files_of_at_most(20_000), pytest.raises((OSError, RuntimeError)):
                export_model(model, tmp_path / name, kind)
            assert contents() == before

    return check
