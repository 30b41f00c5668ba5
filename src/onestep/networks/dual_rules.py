"""The table of dual layers: the name of a torch function -> its rule, as in dual_layers."""

from collections.abc import Callable

import torch
from torch import Tensor

from onestep.networks import dual_layers as layers
from onestep.networks.dual_layers import check_constant, check_out_of_place


def linear(function, tangents, x, *options, **more):
    """What is linear in its first tensor, or only moves it about."""
    check_constant(function, tangents[1:])
    output = function(x, *options, **more)
    with torch.no_grad():
        return output, function(tangents[0], *options, **more)


def converted(function, tangents, x, *options, **more):
    """Another type, device or layout; the tangent stays float32 at least."""
    output = function(x, *options, **more)
    with torch.no_grad():
        return output, tangents[0].to(output.device, torch.promote_types(output.dtype, torch.float32))


def joined(function, tangents, tensors, *options, **more):
    """Concatenation: constants have tangent 0."""
    output = function(tensors, *options, **more)
    with torch.no_grad():
        moved = [torch.zeros_like(x) if t is None else t for x, t in zip(tensors, tangents[0], strict=True)]
        return output, function(moved, *options, **more)


def padded(function, tangents, x, pad, mode="constant", value=None):
    output = function(x, pad, mode, value)
    with torch.no_grad():
        return output, function(tangents[0], pad, mode)


def chosen(function, tangents, condition, x, other):
    """where(condition, x, other)."""
    output = function(condition, x, other)
    with torch.no_grad():
        return output, function(condition, *(0.0 if t is None else t for t in tangents[1:]))


def plus(function, tangents, x, y):
    output = function(x, y)
    dx, dy = tangents
    with torch.no_grad():
        tangent = dy if dx is None else dx if dy is None else dx + dy
        return output, tangent.expand(output.shape)


def minus(function, tangents, x, y):
    output = function(x, y)
    dx, dy = tangents
    with torch.no_grad():
        tangent = -dy if dx is None else dx if dy is None else dx - dy
        return output, tangent.expand(output.shape)


def minus_from(function, tangents, x, number):
    """number - x."""
    return function(x, number), -tangents[0]


def times(function, tangents, x, y):
    output = function(x, y)
    dx, dy = tangents
    with torch.no_grad():
        if dx is None:
            return output, x * dy
        tangent = dx * y
        if dy is None:
            return output, tangent
        return output, tangent.addcmul_(x, dy) if tangent.shape == output.shape else tangent + x * dy


def bilinear(function, tangents, x, y):
    """Products of matrices and of vectors."""
    output = function(x, y)
    dx, dy = tangents
    with torch.no_grad():
        parts = ([] if dx is None else [function(dx, y)]) + ([] if dy is None else [function(x, dy)])
        return output, sum(part.float() if part.dtype.itemsize == 2 else part for part in parts)


def divided(function, tangents, x, y):
    output = function(x, y)
    dx, dy = tangents
    with torch.no_grad():
        if dy is None:
            return output, dx / y
        return output, (-output * dy if dx is None else dx - output * dy) / y


def divided_into(function, tangents, x, number):
    """number / x."""
    output = function(x, number)
    with torch.no_grad():
        return output, -output / x * tangents[0]


def power(function, tangents, x, exponent):
    """x ** number."""
    check_constant(function, tangents[1:])
    output = function(x, exponent)
    with torch.no_grad():
        return output, exponent * x ** (exponent - 1) * tangents[0]


def bounded(function, tangents, x, *options, **more):
    """Clamping: no change where a bound holds."""
    check_constant(function, tangents[1:])
    output = function(x, *options, **more)
    with torch.no_grad():
        return output, tangents[0] * (output == x)


def pointwise(derivative: Callable[[Tensor, Tensor], Tensor]):
    """The rule of a function of one number. derivative: of (x, output)."""

    def rule(function, tangents, x, inplace=False):
        check_out_of_place(function, inplace)
        output = function(x)
        with torch.no_grad():
            return output, derivative(x, output) * tangents[0]

    return rule


LINEAR = (
    "reshape", "view", "flatten", "unflatten", "permute", "transpose", "squeeze", "unsqueeze", "expand", "repeat",
    "getitem", "chunk", "split", "unbind", "neg", "sum", "mean", "avg_pool2d", "interpolate",
)  # fmt: skip
CONVERTED = ("to", "float", "type_as", "contiguous", "clone")
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
    **{name: pointwise(derivative) for name, derivative in POINTWISE.items()},
    **dict.fromkeys(("conv2d", "conv_transpose2d", "linear"), layers.affine),
    "add": plus,
    "sub": minus,
    "rsub": minus_from,
    "mul": times,
    **dict.fromkeys(("matmul", "bmm", "outer"), bilinear),
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
