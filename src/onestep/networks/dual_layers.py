"""How a tangent passes each layer: rules (function, tangents, *primals, **options) -> output, tangent.

function: the torch function as the network calls it; tangents: of the primals, in order, None for a constant. The
output is the plain call's, graph included; what makes the tangent runs without a graph.
"""

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend

aten = torch.ops.aten


def affine(function, tangents, x, weight, bias=None, *options, **more):
    """Convolutions and linear layers: they take the tangent too, without the bias."""
    check_constant(function, tangents[1:])
    output = function(x, weight, bias, *options, **more)
    with torch.no_grad():
        return output, function(tangents[0], weight, None, *options, **more)


def group_norm(function, tangents, x, num_groups, weight=None, bias=None, eps=1e-5):
    """Its Jacobian is symmetric but for the weight: the backward kernel applied to the tangent, times the weight."""
    check_constant(function, tangents[1:])
    x = _dense(x.float() if x.is_cuda and torch.is_autocast_enabled("cuda") else x)  # as the plain call does it
    sizes = (x.shape[0], x.shape[1], x[0, 0].numel(), num_groups)
    output, *statistics = torch.native_group_norm(x, weight, bias, *sizes, eps)
    with torch.no_grad():
        dx = _like(tangents[0], x)
        saved = [t.to(dx.dtype) for t in (x, *statistics)]
        tangent = aten.native_group_norm_backward(dx, *saved, None, *sizes, [True, False, False])[0]
        return output, tangent if weight is None else tangent.mul_(weight.view(-1, *[1] * (x.ndim - 2)))


def layer_norm(function, tangents, x, shape, weight=None, bias=None, eps=1e-5):
    """As group_norm."""
    check_constant(function, tangents[1:])
    output = function(x, shape, weight, bias, eps)
    with torch.no_grad():
        dx = tangents[0]
        x = x.to(dx.dtype)
        _, *statistics = torch.native_layer_norm(x, shape, None, None, eps)
        tangent = aten.native_layer_norm_backward(dx, x, shape, *statistics, None, None, [True, False, False])[0]
        return output, tangent if weight is None else tangent.mul_(weight)


def silu(function, tangents, x, inplace=False):
    """A diagonal Jacobian: the backward kernel applied to the tangent."""
    check_out_of_place(function, inplace)
    output = function(x)
    with torch.no_grad():
        return output, aten.silu_backward(tangents[0], x.to(tangents[0].dtype))


def softmax(function, tangents, x, *options, dim=None, **more):
    """A symmetric Jacobian: the backward kernel applied to the tangent."""
    dim, *options = options if dim is None else (dim, *options)
    output = function(x, dim, *options, **more)
    with torch.no_grad():
        dx = tangents[0]
        return output, aten._softmax_backward_data(dx, output.to(dx.dtype), dim, dx.dtype)


def attention(function, tangents, q, k, v, mask=None, dropout_p=0.0, is_causal=False, *, scale=None, **more):
    """P = softmax(S), S = scale Q K^T, O = P V; dO = dP V + P dV, dP the softmax's backward of dS."""
    if mask is not None or dropout_p or is_causal or any(more.values()):
        raise NotImplementedError(f"{name_of(function)} with a mask or dropout is not known to dual layers.")
    output, p = _attended(function, q, k, v, scale)
    with torch.no_grad(), torch.autocast(q.device.type, enabled=False):
        precise = torch.promote_types(q.dtype, torch.float32)
        scale = q.shape[-1] ** -0.5 if scale is None else scale
        dq, dk, dv = (torch.zeros_like(x) if t is None else t for t, x in zip(tangents[:3], (q, k, v), strict=True))
        q, k, v, dq, dk, dv = (t.to(precise).flatten(0, -3) for t in (q, k, v, dq, dk, dv))
        p = torch.bmm(q * scale, k.mT).softmax(-1) if p is None else p.detach().to(precise).flatten(0, -3)
        ds = torch.bmm(dq * scale, k.mT).baddbmm_(q * scale, dk.mT)
        dp = aten._softmax_backward_data(ds, p, -1, precise)
        return output, torch.bmm(dp, v).baddbmm_(p, dv).view(output.shape)


def _attended(function, q, k, v, scale):
    """The plain call's output, and the attention weights where it has them."""
    plain = not torch.is_autocast_enabled(q.device.type)
    if plain and torch._fused_sdp_choice(q, k, v, scale=scale) == SDPBackend.MATH.value:
        return torch._scaled_dot_product_attention_math(q, k, v, scale=scale)
    return function(q, k, v, scale=scale), None


def dropout(function, tangents, x, p=0.5, training=True, inplace=False):
    """One mask for both, drawn as the plain call draws it."""
    check_out_of_place(function, inplace)
    if not training or p == 0:
        return x, tangents[0]
    if x.is_cuda:  # the kernel of the plain call, with its mask
        output, mask = torch.native_dropout(x, p, True)
        with torch.no_grad():
            return output, tangents[0] * mask * (1 / (1 - p) if p < 1 else 0.0)
    with torch.no_grad():
        mask = function(torch.ones_like(x), p)
        tangent = tangents[0] * mask
    return x * mask, tangent


SAME = {"radd": "add", "rmul": "mul", "truediv": "div"}


def name_of(function) -> str:
    """The name of a torch function, of a tensor's method, or of the operator that calls it."""
    name = function.__name__
    name = name[2:-2] if name.startswith("__") else name
    return SAME.get(name, name)


def check_constant(function, tangents):
    """Raises NotImplementedError if one of them is no constant."""
    if any(t is not None for t in tangents):
        raise NotImplementedError(f"Dual layers know the derivative of {name_of(function)} by its first tensor alone.")


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
