# A rule takes what its torch function takes, whatever that is: the table checks rules, not their signatures.
# pyright: reportMissingParameterType=false, reportMissingTypeArgument=false, reportPrivateUsage=false
"""How a tangent passes each layer: rules (function, *primals, **options) -> output, carry.

function: the torch function as the network calls it. The output is the plain call's, graph included. carry takes the
tangents of the primals, in order, None for a constant, and gives the output's; it is called later, without gradients.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

aten = torch.ops.aten


def affine(function, x, weight, bias=None, *options, **more):
    """Convolutions and linear layers: they take the tangent too, without the bias."""
    output = function(x, weight, bias, *options, **more)
    return output, lambda dx, *_: function(dx, weight, None, *options, **more)


def group_norm(function, x, num_groups, weight=None, bias=None, eps=1e-5):
    """Its Jacobian is symmetric but for the weight: the backward kernel applied to the tangent, times the weight."""
    x = _dense(x.float() if x.is_cuda and torch.is_autocast_enabled("cuda") else x)  # as the plain call does it
    sizes = (x.shape[0], x.shape[1], x[0, 0].numel(), num_groups)
    output, *statistics = torch.native_group_norm(x, weight, bias, *sizes, eps)

    def carry(dx, *_):
        saved = [t.to(dx.dtype) for t in (x, *statistics)]
        tangent = aten.native_group_norm_backward(_like(dx, x), *saved, None, *sizes, [True, False, False])[0]
        return tangent if weight is None else tangent.mul_(weight.view(-1, *[1] * (x.ndim - 2)))

    return output, carry


def layer_norm(function, x, shape, weight=None, bias=None, eps=1e-5):
    """As group_norm."""

    def carry(dx, *_):
        precise = x.to(dx.dtype)
        _, *statistics = torch.native_layer_norm(precise, shape, None, None, eps)
        kernel = aten.native_layer_norm_backward
        tangent = kernel(dx, precise, shape, *statistics, None, None, [True, False, False])[0]
        return tangent if weight is None else tangent.mul_(weight)

    return function(x, shape, weight, bias, eps), carry


def vector_norm(function, x, ord=2, dim=None, keepdim=False, *, dtype=None):
    """sqrt(sum x^2), by its direction: 0 where it is 0."""
    if ord != 2:
        raise NotImplementedError(f"{name_of(function)} of order {ord} is not known to dual layers: only of order 2.")
    output = function(x, 2, dim, keepdim, dtype=dtype)
    dims = tuple(range(x.ndim)) if dim is None else dim

    def carry(dx, *_):
        moved = (x.to(dx.dtype) * dx).sum(dims, keepdim)
        return (moved / output).masked_fill_(output == 0, 0)

    return output, carry


def silu(function, x, inplace=False):
    """A diagonal Jacobian: the backward kernel applied to the tangent."""
    check_out_of_place(function, inplace)
    return function(x), lambda dx: aten.silu_backward(dx, x.to(dx.dtype))


def softmax(function, x, *options, dim=None, **more):
    """A symmetric Jacobian: the backward kernel applied to the tangent."""
    dim, *options = options if dim is None else (dim, *options)
    output = function(x, dim, *options, **more)
    return output, lambda dx, *_: aten._softmax_backward_data(dx, output.to(dx.dtype), dim, dx.dtype)


def attention(function, q, k, v, mask=None, dropout_p=0.0, is_causal=False, *, scale=None, **more):
    """P = softmax(S), S = scale Q K^T, O = P V; dO = dP V + P dV, dP the softmax's backward of dS."""
    if mask is not None or dropout_p or is_causal or any(more.values()):
        raise NotImplementedError(f"{name_of(function)} with a mask or dropout is not known to dual layers.")
    output, weights = _attended(function, q, k, v, scale)
    shape, scale = output.shape, q.shape[-1] ** -0.5 if scale is None else scale

    def carry(*tangents):
        precise = torch.promote_types(q.dtype, torch.float32)
        moved = (torch.zeros_like(x) if t is None else t for t, x in zip(tangents, (q, k, v), strict=True))
        with torch.autocast(q.device.type, enabled=False):
            q_, k_, v_, dq, dk, dv = (t.to(precise).flatten(0, -3) for t in (q, k, v, *moved))
            p = torch.bmm(q_ * scale, k_.mT).softmax(-1) if weights is None else weights.flatten(0, -3)
            ds = torch.bmm(dq * scale, k_.mT).baddbmm_(q_ * scale, dk.mT)
            dp = aten._softmax_backward_data(ds, p, -1, precise)
            return torch.bmm(dp, v_).baddbmm_(p, dv).view(shape)

    return output, carry


def _attended(function, q, k, v, scale):
    """The plain call's output, and the attention weights where it has them."""
    # Private: torch has no public way to ask which kernel a call takes, nor for the weights that one of them makes.
    plain = not torch.compiler.is_compiling() and q.dtype.itemsize > 2 and not torch.is_autocast_enabled(q.device.type)
    if plain and torch._fused_sdp_choice(q, k, v, scale=scale) == SDPBackend.MATH.value:
        return torch._scaled_dot_product_attention_math(q, k, v, scale=scale)
    return function(q, k, v, scale=scale), None


def dropout(function, x, p=0.5, training=True, inplace=False):
    """One mask for both, drawn as the plain call draws it."""
    check_out_of_place(function, inplace)
    if not training or p == 0:
        return x, lambda dx, *_: dx
    if x.is_cuda:  # the kernel of the plain call, with its mask
        output, mask = torch.native_dropout(x, p, True)
        return output, lambda dx, *_: dx * mask * (1 / (1 - p) if p < 1 else 0.0)
    with torch.no_grad():
        mask = function(torch.ones_like(x), p)
    return x * mask, lambda dx, *_: dx * mask


SAME = {"radd": "add", "rmul": "mul", "truediv": "div"}


def name_of(function: Callable[..., Any]) -> str:
    """The name of a torch function, of a tensor's method, or of the operator that calls it."""
    name: str = function.__name__
    name = name[2:-2] if name.startswith("__") else name
    return SAME.get(name, name)


def check_out_of_place(function, inplace: bool):
    """Raises NotImplementedError for a layer that overwrites its input."""
    if inplace:
        raise NotImplementedError(f"{name_of(function)} with inplace=True is no part of a dual forward pass.")


def _dense(x: Tensor) -> Tensor:
    last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
    return x if last else x.contiguous()


def _like(tangent: Tensor, x: Tensor) -> Tensor:
    """The tangent in the memory format of x."""
    return tangent.contiguous() if x.is_contiguous() else tangent.contiguous(memory_format=torch.channels_last)
