# A rule takes what its torch function takes, whatever that is: the table checks rules, not their signatures.
# pyright: reportMissingParameterType=false, reportMissingTypeArgument=false
"""Forward-mode derivatives of networks at about one more forward pass: dual layers.

jvp calls the network itself, on tensors that note what is done with them. Each layer runs as ever, graph and all, and
leaves behind how a tangent passes it (dual_rules, dual_layers): by the layer itself where it is linear, by its backward
kernel where its Jacobian is symmetric. Then the tangent goes through all of it without a graph: docs/dual_layers.md.

Under bf16 autocast the tangent is in bf16 within convolutions and linear layers alone, in fp32 everywhere else. Seen on
a U-Net of 32 channels with attention, against float64: it is then 1.4 % off where the output is 1.0 % off; 1.1 % is
left with all of it in fp32, because the primal is in bf16. So fp32 convolutions would not pay.
"""

from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor

from fewstep.networks.dual_layers import name_of
from fewstep.networks.dual_rules import OF_FIRST, PLAIN, RULES
from fewstep.support.errors import InvalidInput

OPERATORS = ("add", "sub", "mul", "truediv", "pow", "matmul")
FACTS = ("shape", "dtype", "device", "ndim", "layout", "is_cuda", "is_cpu", "is_sparse", "requires_grad")
"""What a dual tensor says of itself as its primal does."""


def jvp(function: Callable, primals: tuple, tangents: tuple) -> tuple[Tensor, Tensor]:
    """function(*primals), and its derivative along tangents: Dual forward pass.

    function: of tensors, made of the layers of networks and of arithmetic: a network, or a preconditioner around one,
    with whatever else it wants already bound. tangents: one for each primal, of its shape; None for a constant.
    The output is that of the plain call to the bit, with its graph and its random numbers. Its tangent has no graph
    and is float32 at least.
    Raises NotImplementedError, which names it, for an operation whose derivative is not known here.
    """
    if len(primals) != len(tangents):
        raise InvalidInput(f"{len(primals)} primals and {len(tangents)} tangents: one for each, None for a constant.")
    sweep = Sweep()
    output = function(*(_paired(p, t, sweep) for p, t in zip(primals, tangents, strict=True)))
    if isinstance(output, Dual):
        sweep.run()
        return output.primal, output.place.tangent
    if not isinstance(output, Tensor):
        raise TypeError(f"jvp is of functions that return one tensor, and this one returned {type(output).__name__}.")
    return output, torch.zeros_like(output)  # it does not depend on them


def _paired(primal, tangent, sweep):
    if tangent is None:
        return primal
    if primal.shape != tangent.shape:
        raise InvalidInput(f"a tangent of shape {list(tangent.shape)} for a primal of shape {list(primal.shape)}.")
    dual = Dual(primal, sweep)
    dual.place.tangent = tangent.detach()
    return dual


def through(derived: Callable[[tuple, tuple], tuple[Tensor, Tensor]], args: tuple) -> "Dual":
    """One operation of a dual forward pass that takes its tangents at once, as jvp(function, primals, tangents) does.

    args: some of them Dual. The tangents of all that came before them are made first.
    """
    sweep = next(a.sweep for a in args if type(a) is Dual)
    sweep.run()
    primal, tangent = derived(tuple(_split(a, []) for a in args), tuple(inputs_of(_places(args))))
    dual = Dual(primal, sweep)
    dual.place.tangent = tangent
    return dual


class Place:
    """Where a tangent will be."""

    __slots__ = ("tangent",)


class Sweep:
    """What a tangent has to pass, in order. tracked: whether gradients were on at the start.

    The tangents come after the last primal: mixed with the tensors that the graph keeps, they cost half as many page
    faults again.
    """

    def __init__(self):
        self.tracked, self.steps = torch.is_grad_enabled(), deque()

    def run(self):
        with torch.no_grad():
            while self.steps:
                self._pass(*self.steps.popleft())

    @staticmethod
    def _pass(carry, inputs, outputs, kind, autocast):
        switch = torch.is_autocast_enabled(kind) != autocast
        with torch.autocast(kind, enabled=autocast) if switch else nullcontext():
            tangents = carry(*inputs_of(inputs))
        if len(outputs) == 1 and isinstance(tangents, Tensor):
            tangents = (tangents,)
        for place, tangent in zip(outputs, tangents, strict=True):
            place.tangent = tangent.float() if tangent.dtype.itemsize == 2 else tangent


def inputs_of(places: list) -> list:
    """The tangents of a call's arguments: None for a constant."""
    return [p and (p.tangent if type(p) is Place else inputs_of(p)) for p in places]


class Dual:
    """A tensor and the place of its tangent, a tensor to PyTorch's functions."""

    __slots__ = ("place", "primal", "sweep")

    def __init__(self, primal: Tensor, sweep: Sweep):
        self.primal, self.sweep, self.place = primal, sweep, Place()

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return apply(function, args, kwargs or {})

    def __getattr__(self, name: str):
        if name in FACTS:
            return getattr(self.primal, name)
        if name.startswith("__") or not callable(method := getattr(Tensor, name, None)):
            raise AttributeError(f"a tensor in a dual forward pass has no {name!r}: see fewstep.networks.dual.")
        return partial(_call, method, self)

    def __len__(self) -> int:
        return len(self.primal)

    def __iter__(self):
        return iter(cast(Any, self.unbind)())

    def __bool__(self):
        raise NotImplementedError("A branch on the values of a tensor is no part of a dual forward pass.")

    def __array__(self, *_):
        raise NotImplementedError("NumPy has no part in a dual forward pass.")

    def __repr__(self) -> str:
        return f"Dual({list(self.primal.shape)}, {self.primal.dtype})"


def _call(function, *args, **kwargs):
    return apply(function, args, kwargs)


def _operator(name: str):
    def operator(*args):
        return apply(getattr(Tensor, name), args, {})

    return operator


for _name in (*(f"__{side}{name}__" for name in OPERATORS for side in ("", "r", "i")), "__neg__", "__getitem__"):
    if hasattr(Tensor, _name):
        setattr(Dual, _name, _operator(_name))
for _name in ("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "__setitem__"):
    setattr(Dual, _name, _operator(_name))


def apply(function, args: tuple, kwargs: dict):
    """function, a torch function, of arguments some of which are Dual."""
    name = name_of(function)
    found: list[Dual] = []
    primals = [_split(a, found) for a in args]
    if name in PLAIN:
        return function(*primals, **{key: _split(value, found) for key, value in kwargs.items()})
    if any(isinstance(value, Dual) for value in kwargs.values()):
        raise NotImplementedError(f"{name}: give a tensor by its place, not by a keyword, in a dual forward pass.")
    sweep = found[0].sweep
    if torch.is_grad_enabled() != sweep.tracked:
        raise NotImplementedError(
            f"{name} with gradients switched {'off' if sweep.tracked else 'on'} inside of a dual forward pass: a "
            "custom autograd.Function or a no_grad block is no part of one. Write it with torch functions alone."
        )
    if name not in RULES:
        raise NotImplementedError(
            f"The derivative of {name} is not known to dual layers. Write the network without it, or add its "
            "rule to fewstep.networks.dual_rules, with a case in tests/networks/test_dual.py."
        )
    rule = RULES[name]
    if rule in OF_FIRST and any(type(a) is Dual for a in args[1:]):
        raise NotImplementedError(f"Dual layers know the derivative of {name} by its first tensor alone.")
    output, carry = rule(function, *primals, **kwargs)
    several = isinstance(output, tuple | list)
    duals = tuple(Dual(o, sweep) for o in (output if several else (output,)))
    kind = duals[0].primal.device.type
    outputs = [dual.place for dual in duals]
    sweep.steps.append((carry, _places(args), outputs, kind, torch.is_autocast_enabled(kind)))
    return duals if several else duals[0]


def _split(argument, found: list):
    if type(argument) is Dual:
        found.append(argument)
        return argument.primal
    if type(argument) in (tuple, list):
        return type(argument)(_split(a, found) for a in argument)
    return argument


def _places(arguments) -> list:
    return [
        a.place
        if type(a) is Dual
        else _places(a)
        if type(a) in (tuple, list) and any(type(b) is Dual for b in a)
        else None
        for a in arguments
    ]
