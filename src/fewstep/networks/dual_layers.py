# A rule takes what its torch function takes, whatever that is: the table checks rules, not their signatures.
# pyright: reportMissingParameterType=false, reportMissingTypeArgument=false, reportPrivateUsage=false
"""How a tangent passes each layer: rules (function, *primals, **options) -> output, carry.

function: the torch function as the network calls it. The output is the plain call's, graph included. carry takes the
tangents of the primals, in order, None for a constant, and gives the output's; it is called later, without gradients.
"""

import math
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
    """As group_norm; in low precision the statistics are computed again, in that of the tangent."""
    x = x.float() if x.is_cuda and torch.is_autocast_enabled("cuda") else x  # as the plain call does it
    output, *statistics = torch.native_layer_norm(x, shape, weight, bias, eps)

    def carry(dx, *_):
        precise = x.to(dx.dtype)
        saved = statistics if precise is x else torch.native_layer_norm(precise, shape, None, None, eps)[1:]
        kernel = aten.native_layer_norm_backward
        tangent = kernel(dx, precise, shape, *saved, None, None, [True, False, False])[0]
        return tangent if weight is None else tangent.mul_(weight)

    return output, carry


def rms_norm(function, x, shape, weight=None, eps=None):
    """y = x / r, r the root mean square: dy = (dx - x M[x dx] / r^2) / r, M the mean over a group; times the weight."""
    eps, axes = torch.finfo(x.dtype).eps if eps is None else eps, tuple(range(-len(shape), 0))

    def carry(dx, *_):
        precise, count = x.to(dx.dtype), math.prod(shape)
        square = torch.linalg.vector_norm(precise, dim=axes, keepdim=True).square() / count + eps
        along = (precise * dx).sum(axes, keepdim=True) / (count * square)
        tangent = torch.addcmul(dx, precise, along, value=-1).mul_(square.rsqrt())
        return tangent if weight is None else tangent.mul_(weight)

    return function(x, shape, weight, eps), carry


def normalize(function, x, p=2.0, dim=1, eps=1e-12, out=None):
    """y = x / |x|: dy = (dx - y <y, dx>) / |x|; below eps |x| is a constant."""
    if p != 2:
        raise NotImplementedError(f"normalize with p={p} is not known to dual layers: 2 is.")

    def carry(dx, *_):
        precise = x.to(dx.dtype)
        length = torch.linalg.vector_norm(precise, dim=dim, keepdim=True)
        normalised, above = precise / length.clamp_min(eps), length > eps
        along = (normalised * dx).sum(dim, keepdim=True) * above
        return torch.addcmul(dx, normalised, along, value=-1).div_(length.clamp_min(eps))

    return function(x, p, dim, eps), carry


def gelu(function, x, approximate="none"):
    """A diagonal Jacobian: the backward kernel applied to the tangent."""
    return function(x, approximate=approximate), lambda dx: aten.gelu_backward(
        dx, x.to(dx.dtype), approximate=approximate
    )


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
    precise = torch.promote_types(q.dtype, torch.float32)

    def carry(*tangents):
        dq, dk, dv = (torch.zeros_like(x) if t is None else t for t, x in zip(tangents, (q, k, v), strict=True))
        with torch.autocast(q.device.type, enabled=False):
            q_, dq = (_matrices(t, precise, scale) for t in (q, dq))
            k_, v_, dk, dv = (_matrices(t, precise) for t in (k, v, dk, dv))
            p = torch.bmm(q_, k_.mT).softmax(-1) if weights is None else weights.flatten(0, -3)
            dp = aten._softmax_backward_data(torch.bmm(dq, k_.mT).baddbmm_(q_, dk.mT), p, -1, precise)
            return torch.bmm(dp, v_).baddbmm_(p, dv).view(shape)

    return output, carry


def _matrices(x: Tensor, dtype: torch.dtype, factor: float = 1.0) -> Tensor:
    """x times a factor, [..., N, D] -> [B, N, D], in one pass where it is of that type."""
    if factor == 1:
        return x.to(dtype).flatten(0, -3)
    return torch.mul(x.to(dtype), factor, out=torch.empty(x.shape, dtype=dtype, device=x.device)).flatten(0, -3)


def _attended(function, q, k, v, scale):
    """The plain call's output, and the attention weights where it has them."""
    # Private: torch has no public way to ask which kernel a call takes, nor for the weights that one of them makes.
    plain = q.dtype.itemsize > 2 and not torch.is_autocast_enabled(q.device.type)
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
