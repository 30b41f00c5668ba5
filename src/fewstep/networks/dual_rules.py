# A rule takes what its torch function takes, whatever that is: the table checks rules, not their signatures.
# pyright: reportMissingParameterType=false, reportMissingTypeArgument=false
"""The table of dual layers: the name of a torch function -> its rule, as in dual_layers."""

from collections.abc import Callable

import torch
from torch import Tensor

from fewstep.networks import dual_layers as layers
from fewstep.networks.dual_layers import check_out_of_place


def linear(function, x, *options, **more):
    """What is linear in its first tensor, or only moves it about."""
    return function(x, *options, **more), lambda dx, *_: function(dx, *options, **more)


def viewed(function, x, *shape, **more):
    """Another shape of the same memory, in which a tangent need not lie as its primal does: after a broadcast, say."""
    output = function(x, *shape, **more)
    if output.dtype != x.dtype:
        raise NotImplementedError("view as another type is not known to dual layers: to(dtype) is.")
    return output, lambda dx, *_: dx.reshape(output.shape)


def converted(function, x, *options, **more):
    """Another type or device; the tangent stays float32 at least."""
    output = function(x, *options, **more)
    device, precise = output.device, torch.promote_types(output.dtype, torch.float32)
    return output, lambda dx, *_: dx.to(device, precise)


def joined(function, tensors, *options, **more):
    """Concatenation: constants have tangent 0."""

    kinds = [(x.shape, x.device, torch.promote_types(x.dtype, torch.float32)) for x in tensors]

    def carry(tangents, *_):
        moved = [
            torch.zeros(shape, device=device, dtype=kind) if t is None else t
            for (shape, device, kind), t in zip(kinds, tangents, strict=True)
        ]
        return function(moved, *options, **more)

    return function(tensors, *options, **more), carry


def padded(function, x, pad, mode="constant", value=None):
    return function(x, pad, mode, value), lambda dx, *_: function(dx, pad, mode)


def chosen(function, condition, x, other):
    """where(condition, x, other)."""

    def carry(_, *tangents):
        return function(condition, *(0.0 if t is None else t for t in tangents))

    return function(condition, x, other), carry


def plus(function, x, y):
    output = function(x, y)
    shape = output.shape
    return output, lambda dx, dy: (dy if dx is None else dx if dy is None else dx + dy).expand(shape)


def minus(function, x, y):
    output = function(x, y)
    shape = output.shape
    return output, lambda dx, dy: (-dy if dx is None else dx if dy is None else dx - dy).expand(shape)


def minus_from(function, x, number):
    """number - x."""
    return function(x, number), lambda dx, _: -dx


def times(function, x, y):
    output = function(x, y)
    shape = output.shape

    def carry(dx, dy):
        if dx is None or dy is None:
            return x * dy if dx is None else dx * y
        tangent = dx * y
        return tangent.addcmul_(x, dy) if tangent.shape == shape else tangent + x * dy

    return output, carry


def product_added(function, x, y, z, value=1):
    """x + value y z."""
    output = function(x, y, z, value=value)
    shape = output.shape

    def carry(dx, dy, dz):
        moved = [(a, b) for a, b in ((dy, z), (y, dz)) if not (a is None or b is None)]
        tangent = value * torch.mul(*moved.pop()) if dx is None else dx
        for pair in moved:
            own = tangent is not dx and tangent.shape == shape
            tangent = tangent.addcmul_(*pair, value=value) if own else function(tangent, *pair, value=value)
        return tangent.expand(shape)

    return output, carry


def bilinear(function, x, y):
    """Products of matrices and of vectors."""

    def carry(dx, dy):
        parts = ([] if dx is None else [function(dx, y)]) + ([] if dy is None else [function(x, dy)])
        return sum(part.float() if part.dtype.itemsize == 2 else part for part in parts)

    return function(x, y), carry


def divided(function, x, y):
    output = function(x, y)

    def carry(dx, dy):
        if dy is None:
            return dx / y
        return (-output * dy if dx is None else dx - output * dy) / y

    return output, carry


def divided_into(function, x, number):
    """number / x."""
    output = function(x, number)
    return output, lambda dx, _: -output / x * dx


def power(function, x, exponent):
    """x ** number."""
    return function(x, exponent), lambda dx, _: exponent * x ** (exponent - 1) * dx


def bounded(function, x, *options, **more):
    """Clamping: no change where a bound holds."""
    output = function(x, *options, **more)
    return output, lambda dx, *_: dx * (output == x)


def pointwise(derivative: Callable[[Tensor, Tensor], Tensor]):
    """The rule of a function of one number. derivative: of (x, output)."""

    def rule(function, x, inplace=False):
        check_out_of_place(function, inplace)
        output = function(x)
        return output, lambda dx, *_: derivative(x, output) * dx

    return rule


OF_FIRST = {linear, viewed, padded, power, bounded, layers.affine}
OF_FIRST |= {layers.group_norm, layers.layer_norm, layers.rms_norm, layers.vector_norm, layers.normalize}
"""Rules that know the derivative by the first tensor alone."""
LINEAR = (
    "reshape", "flatten", "unflatten", "permute", "transpose", "squeeze", "unsqueeze", "expand", "repeat",
    "getitem", "chunk", "split", "unbind", "neg", "sum", "mean", "avg_pool2d", "interpolate", "contiguous", "clone",
)  # fmt: skip
CONVERTED = ("to", "float", "type_as")
POINTWISE: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sin": lambda x, y: x.cos(),
    "cos": lambda x, y: -x.sin(),
    "tan": lambda x, y: 1 + y * y,
    "atan": lambda x, y: 1 / (1 + x * x),
    "exp": lambda x, y: y,
    "log": lambda x, y: 1 / x,
    "sqrt": lambda x, y: 0.5 / y,
    "rsqrt": lambda x, y: -0.5 * y / x,
    "square": lambda x, y: 2 * x,
    "reciprocal": lambda x, y: -y * y,
    "abs": lambda x, y: x.sign(),
    "sigmoid": lambda x, y: y * (1 - y),
    "tanh": lambda x, y: 1 - y * y,
    "relu": lambda x, y: x > 0,
}
RULES: dict[str, Callable] = {
    **dict.fromkeys(LINEAR, linear),
    **dict.fromkeys(CONVERTED, converted),
    "view": viewed,
    **{name: pointwise(derivative) for name, derivative in POINTWISE.items()},
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), layers.affine),
    "add": plus,
    "sub": minus,
    "rsub": minus_from,
    "mul": times,
    **dict.fromkeys(("matmul", "bmm", "outer"), bilinear),
    "addcmul": product_added,
    "div": divided,
    "rdiv": divided_into,
    "pow": power,
    **dict.fromkeys(("clamp", "clamp_min"), bounded),
    **dict.fromkeys(("cat", "stack"), joined),
    "pad": padded,
    "where": chosen,
    "dropout": layers.dropout,
    "group_norm": layers.group_norm,
    "layer_norm": layers.layer_norm,
    "linalg_vector_norm": layers.vector_norm,
    "rms_norm": layers.rms_norm,
    "normalize": layers.normalize,
    "gelu": layers.gelu,
    "silu": layers.silu,
    "softmax": layers.softmax,
    "scaled_dot_product_attention": layers.attention,
}
PLAIN = {
    "detach", "size", "dim", "numel", "stride", "is_floating_point", "is_contiguous", "new_zeros", "new_ones",
    "new_full", "new_empty", "new_tensor", "zeros_like", "ones_like", "full_like", "empty_like", "rand_like",
    "randn_like", "eq", "ne", "lt", "le", "gt", "ge", "isfinite", "isnan",
}  # fmt: skip
"""What gives no derivative to what comes of it: done on the primals alone."""
