"""Forward-mode derivatives of networks at about one more forward pass: dual layers.

jvp calls the network itself, on tensors that carry their tangent with them. Each layer's rule (dual_rules,
dual_layers) first runs the layer as ever, graph and all, and then carries the tangent through it, without a graph, by
the layer itself where it is linear and by its backward kernel where its Jacobian is symmetric: docs/dual_layers.md.

Under bf16 autocast convolutions and linear layers take the tangent in bf16 too, like any other input. It is kept in
fp32 between them, and so are the derivatives of normalisation, activations and attention.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from onestep.networks.dual_layers import name_of
from onestep.networks.dual_rules import PLAIN, RULES

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
        raise ValueError(f"{len(primals)} primals and {len(tangents)} tangents: one for each, None for a constant.")
    output = function(*map(_paired, primals, tangents))
    if isinstance(output, Dual):
        return output.primal, output.tangent
    if not isinstance(output, Tensor):
        raise TypeError(f"jvp is of functions that return one tensor, and this one returned {type(output).__name__}.")
    return output, torch.zeros_like(output)  # it does not depend on them


def _paired(primal, tangent):
    if tangent is None:
        return primal
    if primal.shape != tangent.shape:
        raise ValueError(f"a tangent of shape {list(tangent.shape)} for a primal of shape {list(primal.shape)}.")
    return Dual(primal, tangent.detach(), torch.is_grad_enabled())


class Dual:
    """A tensor with its tangent, a tensor to PyTorch's functions. tracked: whether gradients were on at the start."""

    __slots__ = ("primal", "tangent", "tracked")

    def __init__(self, primal: Tensor, tangent: Tensor, tracked: bool):
        half = tangent.dtype in (torch.bfloat16, torch.float16)
        self.primal, self.tangent, self.tracked = primal, tangent.float() if half else tangent, tracked

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        return apply(function, args, kwargs or {})

    def __getattr__(self, name: str):
        if name in FACTS:
            return getattr(self.primal, name)
        if name.startswith("__") or not callable(method := getattr(Tensor, name, None)):
            raise AttributeError(f"a tensor in a dual forward pass has no {name!r}: see onestep.networks.dual.")
        return partial(_call, method, self)

    def __len__(self) -> int:
        return len(self.primal)

    def __iter__(self):
        return iter(self.unbind())

    def __bool__(self):
        raise NotImplementedError("A branch on the values of a tensor is no part of a dual forward pass.")

    def __array__(self, *_):
        raise NotImplementedError("NumPy has no part in a dual forward pass.")

    def __repr__(self) -> str:
        return f"Dual({list(self.shape)}, {self.dtype})"


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
    tracked = found[0].tracked
    if torch.is_grad_enabled() != tracked:
        raise NotImplementedError(
            f"{name} with gradients switched {'off' if tracked else 'on'} inside of a dual forward pass: a custom "
            "autograd.Function or a no_grad block is no part of one. Write it with torch functions, outside of such."
        )
    if name not in RULES:
        raise NotImplementedError(
            f"The derivative of {name} is not known to dual layers. Write the network without it, or add its "
            "rule to onestep.networks.dual_rules, with a case in tests/networks/test_dual.py."
        )
    output, tangent = RULES[name](function, [_tangent(a) for a in args], *primals, **kwargs)
    if isinstance(output, tuple | list):
        return tuple(Dual(o, t, tracked) for o, t in zip(output, tangent, strict=True))
    return Dual(output, tangent, tracked)


def _split(argument, found: list):
    if type(argument) is Dual:
        found.append(argument)
        return argument.primal
    if type(argument) in (tuple, list):
        return type(argument)(_split(a, found) for a in argument)
    return argument


def _tangent(argument):
    if type(argument) is Dual:
        return argument.tangent
    if type(argument) in (tuple, list) and any(type(a) is Dual for a in argument):
        return [_tangent(a) for a in argument]
    return None
