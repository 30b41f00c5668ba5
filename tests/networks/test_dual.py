"""Dual layers against torch.func.jvp, and against the plain forward pass that they are."""

import operator

import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from fewstep.diffusion.randomness import seeded_dropout
from fewstep.networks import build_network
from fewstep.networks.dual import jvp
from fewstep.networks.dual_rules import RULES
from fewstep.networks.released import from_published
from fewstep.preconditioning import build_preconditioner

CPU = torch.device("cpu")
KERNEL, TURNED = (
    torch.linspace(-1, 1, 144).reshape(4, 4, 3, 3).double(),
    torch.linspace(-1, 1, 12).reshape(3, 4).double(),
)
WEIGHT, BIAS = torch.tensor([0.5, -1.0, 2.0, 1.5]).double(), torch.tensor([1.0, 2.0, -1.0, 0.5]).double()
ROW = torch.linspace(-1, 1, 8).double()

# of each rule: functions of one positive tensor [2, 4, 6, 8], and of two; the second may be a constant, or the first
OF_ONE = {
    "reshape": [lambda x: x.reshape(2, -1)],
    "view": [lambda x: x.view(8, -1)],
    "flatten": [lambda x: x.flatten(1)],
    "unflatten": [lambda x: x.unflatten(1, (2, 2))],
    "permute": [lambda x: x.permute(0, 2, 3, 1)],
    "transpose": [lambda x: x.transpose(1, -1), lambda x: torch.transpose(x, 0, 1)],
    "squeeze": [lambda x: x[:1].squeeze(0)],
    "unsqueeze": [lambda x: x.unsqueeze(1)],
    "expand": [lambda x: x[:, :1].expand(2, 3, 6, 8)],
    "repeat": [lambda x: x.repeat(1, 2, 1, 1)],
    "getitem": [lambda x: x[0, ..., None, 1:3], lambda x: x[torch.tensor([1, 0, 1])]],
    "chunk": [lambda x: operator.mul(*x.chunk(2, dim=1))],
    "split": [lambda x: x.split([1, 3], dim=1)[1]],
    "unbind": [lambda x: x.unbind()[1], lambda x: next(iter(x))],
    "neg": [operator.neg],
    "sum": [lambda x: x.sum(dim=(1, 2)), torch.sum],
    "mean": [lambda x: x.mean(dim=1, keepdim=True)],
    "avg_pool2d": [lambda x: F.avg_pool2d(x, 2)],
    "interpolate": [lambda x: F.interpolate(x, scale_factor=2), lambda x: F.interpolate(x, (3, 5), mode="bilinear")],
    "to": [lambda x: x.to(torch.float64), lambda x: x.to(x)],
    "float": [lambda x: x.float().to(torch.float64)],
    "type_as": [lambda x: x.type_as(KERNEL)],
    "contiguous": [lambda x: x.transpose(1, 2).contiguous()],
    "clone": [torch.clone],
    "sin": [torch.sin],
    "cos": [lambda x: x.cos()],
    "tan": [lambda x: torch.tan(0.1 * x)],
    "atan": [torch.atan],
    "exp": [torch.exp],
    "log": [torch.log],
    "sqrt": [torch.sqrt],
    "rsqrt": [torch.rsqrt],
    "square": [lambda x: x.square()],
    "reciprocal": [torch.reciprocal],
    "abs": [lambda x: (x - 1).abs()],
    "sigmoid": [torch.sigmoid],
    "tanh": [torch.tanh],
    "relu": [lambda x: F.relu(x - 1)],
    "rsub": [lambda x: 2 - x],
    "rdiv": [lambda x: 2 / x],
    "pow": [lambda x: x**2, lambda x: x**-0.5],
    "clamp": [lambda x: x.clamp(0.5, 1.5)],
    "clamp_min": [lambda x: x.clamp_min(1.0)],
    "conv2d": [lambda x: F.conv2d(x, KERNEL, BIAS, stride=2, padding=1), nn.Conv2d(4, 3, 3).double()],
    "conv_transpose2d": [lambda x: F.conv_transpose2d(x, KERNEL[:, :1], stride=2, groups=4)],
    "linear": [lambda x: F.linear(x[..., :4], TURNED), nn.Linear(8, 3).double()],
    "pad": [lambda x: F.pad(x, (1, 2), value=3.0), lambda x: F.pad(x, (1, 2, 0, 1), mode="reflect")],
    "dropout": [lambda x: F.dropout(x, 0.4), nn.Dropout(0.5), lambda x: F.dropout(x, 0.4, training=False)],
    "group_norm": [
        lambda x: F.group_norm(x, 2, WEIGHT, BIAS),
        lambda x: F.group_norm(x, 4, eps=1e-3),
        lambda x: F.group_norm(x[:, :, 0, 0], 2, WEIGHT, BIAS, 1e-3),
    ],
    "layer_norm": [lambda x: F.layer_norm(x[..., :4], (4,), WEIGHT, BIAS), lambda x: F.layer_norm(x, (6, 8))],
    "linalg_vector_norm": [
        lambda x: torch.linalg.vector_norm(x, dim=1, keepdim=True),
        lambda x: torch.linalg.vector_norm(x, dim=(1, 2), dtype=torch.float64),
        torch.linalg.vector_norm,
    ],
    "rms_norm": [
        lambda x: F.rms_norm(x[..., :4], (4,), WEIGHT, 1e-3),
        lambda x: F.rms_norm(x, (6, 8)),
        nn.RMSNorm(8, elementwise_affine=False).double(),
    ],
    "normalize": [F.normalize, lambda x: F.normalize(x - 1, dim=-1, eps=1.5)],
    "gelu": [F.gelu, lambda x: F.gelu(x, approximate="tanh"), nn.GELU("tanh")],
    "silu": [F.silu],
    "softmax": [lambda x: x.softmax(-1), lambda x: F.softmax(x, dim=1)],
}
OF_TWO = {
    "add": [operator.add, lambda x, y: 2 + x + y, lambda x, y: x[:, :1] + y, lambda x, y: x + y[..., :1]],
    "sub": [operator.sub, lambda x, y: x - y[:, :1], lambda x, y: x[:, :1] - y],
    "mul": [operator.mul, lambda x, y: 2 * x * y, lambda x, y: x * y[:, :1], lambda x, y: x[:, :1] * y],
    "div": [torch.div, lambda x, y: x / y[:, :1], lambda x, y: x[:, :1] / y],
    "addcmul": [
        lambda x, y: torch.addcmul(x, y[:, :1], y, value=-2),
        lambda x, y: torch.addcmul(KERNEL[0, 0, 0, 0], x[:, :1], y),
        lambda x, y: torch.addcmul(y[..., :1], ROW, x),
        lambda x, y: torch.addcmul(x * y, ROW, ROW).addcmul(ROW, ROW),
    ],
    "matmul": [lambda x, y: x @ y.transpose(-1, -2)],
    "bmm": [lambda x, y: torch.bmm(x[0], y[0].transpose(-1, -2))],
    "outer": [lambda x, y: torch.outer(x[0, 0, 0], y[1, 0, 0])],
    "cat": [lambda x, y: torch.cat([x, y], dim=1)],
    "stack": [lambda x, y: torch.stack((x, y))],
    "where": [lambda x, y: torch.where(x > 1, x, y)],
    "scaled_dot_product_attention": [
        lambda x, y: F.scaled_dot_product_attention(x, y, x * y),
        lambda x, y: F.scaled_dot_product_attention(x, 2 - x, y, scale=0.3),
        lambda x, y: F.scaled_dot_product_attention(x.transpose(-1, -2), y.transpose(-1, -2), y.transpose(-1, -2)),
    ],
}


def duals_and_reference(function, primals, tangents, seed=7):
    """(output, tangent) by dual layers and by torch.func.jvp, with one dropout mask."""
    with seeded_dropout(seed, CPU):
        ours = jvp(function, primals, tangents)
    given = [i for i, t in enumerate(tangents) if t is not None]

    def of_given(*varied):
        return function(*(varied[given.index(i)] if i in given else p for i, p in enumerate(primals)))

    with seeded_dropout(seed, CPU), sdpa_kernel(SDPBackend.MATH):
        reference = torch.func.jvp(of_given, tuple(primals[i] for i in given), tuple(tangents[i] for i in given))
    return ours, reference


def assert_close(tangent, expected):
    assert expected.any() and tangent.shape == expected.shape and tangent.dtype == expected.dtype
    assert (tangent - expected).abs().max() <= 1e-10 * expected.abs().max()


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    primal = torch.rand(shape, generator=generator, dtype=torch.float64) * 2 + 0.1
    return primal, torch.randn(shape, generator=generator, dtype=torch.float64)


def single_cases():
    for name, functions in OF_ONE.items():
        for function in functions:
            yield name, function, (drawn(2, 4, 6, 8),)
    for name, functions in OF_TWO.items():
        for function in functions:
            (x, dx), (y, dy) = drawn(2, 4, 6, 8), drawn(2, 4, 6, 8, seed=1)
            for tangents in ((dx, dy), (dx, None), (None, dy)):
                yield name, function, ((x, tangents[0]), (y, tangents[1]))


@pytest.mark.parametrize(("name", "function", "given"), list(single_cases()))
def test_layer(name, function, given, monkeypatch):
    primals, tangents = zip(*given, strict=True)
    (output, tangent), (expected, expected_tangent) = duals_and_reference(function, primals, tangents)
    assert torch.allclose(output, expected, rtol=1e-12)
    assert_close(tangent, expected_tangent)
    monkeypatch.delitem(RULES, name)
    with pytest.raises(NotImplementedError, match=f"derivative of {name} "):
        jvp(function, primals, tangents)


def test_memory_formats():
    x, dx = drawn(2, 4, 6, 8)
    layer, norm = nn.Conv2d(4, 4, 3).double(), nn.GroupNorm(2, 4).double()
    last, (output, expected) = torch.channels_last, jvp(lambda x: norm(layer(x)), (x,), (dx,))
    for kind, tangent_kind in ((last, last), (last, torch.contiguous_format), (torch.contiguous_format, last)):
        given = (x.to(memory_format=kind),), (dx.to(memory_format=tangent_kind),)
        for each, wanted in zip(jvp(lambda x: norm(layer(x)), *given), (output, expected), strict=True):
            assert torch.allclose(each, wanted, rtol=1e-12, atol=1e-12)
    (_, turned), (_, expected) = (
        jvp(norm, (x.mT[..., :2, :].contiguous(),), (dx.mT[..., :2, :].contiguous(),)),
        jvp(norm, (x.mT[..., :2, :],), (dx.mT[..., :2, :],)),
    )
    assert torch.allclose(turned, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: x.permute(0, 2, 3, 1).contiguous(),
        lambda x: x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format),
        lambda x: x.permute(0, 2, 3, 1).to(torch.float64, memory_format=torch.contiguous_format, copy=True),
        lambda x: x[:, :1] + ROW.expand(2, 4, 6, 8),
        lambda x: ROW.expand(2, 4, 6, 8) - x[:, :1],
        lambda x: torch.ones(2, 4, 8, 6).double() + x.transpose(2, 3),
        lambda x: torch.where(ROW.expand(2, 4, 6, 8) < 0, x[:, :1], 0.0),
        lambda x: F.dropout(x.transpose(2, 3).contiguous(), 0.5, training=False),
    ],
)
def test_a_tangent_may_lie_in_memory_otherwise_than_its_primal(function):
    """So that what views the primal does not fail on the tangent, of whatever layout that was given."""
    x, dx = drawn(2, 4, 6, 8)
    for tangent in (dx, dx.transpose(2, 3).contiguous().transpose(2, 3), dx[:, :1].expand(2, 4, 6, 8)):
        (_, found), (_, expected) = duals_and_reference(lambda x: function(x).view(2, -1).square(), (x,), (tangent,))
        assert_close(found, expected)


def test_every_rule_has_a_case():
    assert OF_ONE.keys() | OF_TWO.keys() == RULES.keys()


EDM = {"img_resolution": 16, "in_channels": 3, "out_channels": 3, "model_channels": 32, "channel_mult": [1, 2]}
EDM |= {"num_blocks": 1, "attn_resolutions": [8], "dropout": 0.3, "label_dim": 3}
NCSNPP = {"embedding_type": "fourier", "encoder_type": "residual", "resample_filter": [1, 3, 3, 1]}
OPENAI = {"image_size": 16, "num_channels": 32, "channel_mult": "1,2", "attention_resolutions": "8", "dropout": 0.3}
SMALL = {"name": "unet", "channels": 16, "num_blocks": 1, "dropout": 0.3}
EDM2 = {"name": "edm2", "channels": 16, "num_blocks": 1, "attn_resolutions": [4], "head_channels": 8, "dropout": 0.3}
SCM = {"double_norm": True, "embedding": "positional", "second_time": True}
TINY = {"name": "dit", "channels": 16, "num_blocks": 2, "num_heads": 2, "dropout": 0.3}
MODERN = {"rms_norm": True, "qk_norm": True, "rope": True, "swiglu": True, "second_time": True, "patch": 4}
NETWORKS = {
    "ddpmpp": from_published(EDM | {"model_type": "SongUNet"}),
    "ncsnpp": from_published(EDM | NCSNPP | {"model_type": "SongUNet", "channel_mult_noise": 2}),
    "adm": from_published(EDM | {"model_type": "DhariwalUNet"}),
    "openai": from_published(OPENAI | {"use_scale_shift_norm": True, "num_res_blocks": 1}),
    "skip": {"spec": SMALL | {"encoder": "skip", "decoder": "skip", "second_time": True}, "shape": (1, 8, 8)},
    "double norm": {"spec": SMALL | {"double_norm": True, "attn_resolutions": [4], "num_heads": 2}, "shape": (1, 8, 8)},
    "edm2": {"spec": EDM2, "shape": (3, 8, 8), "num_classes": 3},
    "edm2, sCM": {"spec": EDM2 | SCM, "shape": (1, 8, 8)},
    "transformer": {"spec": TINY, "shape": (3, 4, 8), "num_classes": 3},
    "transformer, rms": {"spec": TINY | {"rms_norm": True}, "shape": (1, 4, 4)},
    "transformer, qk": {"spec": TINY | {"qk_norm": True}, "shape": (1, 4, 4)},
    "transformer, rope": {"spec": TINY | {"rope": True}, "shape": (1, 4, 8)},
    "transformer, swiglu": {"spec": TINY | {"swiglu": True, "second_time": True}, "shape": (1, 4, 4)},
    "transformer, all": {"spec": TINY | MODERN, "shape": (3, 8, 4), "num_classes": 3},
    "points": {"spec": {"name": "mlp", "dropout": 0.3}, "shape": (2,)},
    "points, double norm": {"spec": {"name": "mlp", "double_norm": True, "second_time": True}, "shape": (3,)},
}


def build(case, std=0.1):
    """A network in train mode, each parameter random, as a function of (x, c_noise); inputs; a direction of them."""
    torch.manual_seed(0)
    network, shape = build_network(**NETWORKS[case]).double().train(), NETWORKS[case]["shape"]
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=std)
    classes = NETWORKS[case].get("num_classes", 0)
    labels = F.one_hot(torch.tensor([0, 2]), classes) if classes else None

    def function(x, c_noise):
        second = c_noise.sin() if NETWORKS[case]["spec"].get("second_time") else None
        return network(x, c_noise, labels, second=second)

    x, c_noise = torch.randn(2, *shape).double(), torch.randn(2).double()
    return network, function, (x, c_noise), (torch.randn_like(x), torch.randn_like(c_noise))


@pytest.mark.parametrize("case", NETWORKS)
def test_network(case):
    _, function, (x, c_noise), (dx, dc) = build(case)
    for tangents in ((dx, dc), (dx, None), (None, dc)):
        (_, tangent), (_, expected) = duals_and_reference(function, (x, c_noise), tangents)
        assert_close(tangent, expected)


@pytest.mark.parametrize("kind", ["edm", "consistency"])
def test_preconditioner(kind):
    network, _, (x, c_noise), tangents = build("points")
    function = build_preconditioner({"name": kind}, network)
    (_, tangent), (_, expected) = duals_and_reference(function, (x, c_noise.exp()), tangents)
    assert_close(tangent, expected)


def gradients(network, output, target):
    return torch.autograd.grad((output.double() - target).square().sum(), list(network.parameters()), allow_unused=True)


def assert_same_pass(network, function, primals, tangents):
    """The primal is the plain forward pass to the bit: numbers, gradients and random numbers. Returns both."""
    with seeded_dropout(3, CPU):
        output, tangent = jvp(function, primals, tangents)
        after = torch.rand(3)
    with seeded_dropout(3, CPU):
        plain = function(*primals)
        assert torch.equal(torch.rand(3), after)
    assert output.dtype == plain.dtype and torch.equal(output, plain)
    target = torch.ones_like(plain, dtype=torch.float64)
    pairs = list(zip(gradients(network, output, target), gradients(network, plain, target), strict=True))
    assert all((a is None and b is None) or torch.equal(a, b) for a, b in pairs)
    assert sum(a is not None and a.any() for a, _ in pairs) > 0.7 * len(pairs)
    assert not tangent.requires_grad and tangent.grad_fn is None
    return output, tangent


@pytest.mark.parametrize("case", NETWORKS)
def test_primal_is_the_plain_forward_pass(case):
    assert_same_pass(*build(case))


def test_frozen_networks_and_no_gradients():
    network, function, primals, tangents = build("adm")
    network.eval()
    expected = jvp(function, primals, tangents)
    with torch.no_grad():
        within = jvp(function, primals, tangents)
    network.requires_grad_(False)
    for output, tangent in (within, jvp(function, primals, tangents)):
        assert torch.equal(output, expected[0]) and torch.equal(tangent, expected[1])
        assert not output.requires_grad


def error(tangent, expected):
    return float((tangent.double() - expected).norm() / expected.norm())


@pytest.mark.parametrize("case", ["adm", "double norm", "transformer", "transformer, all", "points"])
def test_bf16_autocast(case):
    network, function, primals, tangents = build(case)
    with seeded_dropout(3, CPU):
        _, expected = jvp(function, primals, tangents)
    network.float()
    primals, tangents = [[t.float() for t in group] for group in (primals, tangents)]
    with torch.autocast("cpu", torch.bfloat16):
        output, tangent = assert_same_pass(network, function, primals, tangents)
    assert output.dtype == torch.bfloat16 and tangent.dtype == torch.float32
    assert 1e-4 < error(tangent, expected) < 0.03  # most of it is the primal's
    with torch.autocast("cpu", torch.bfloat16):
        _, embedded = jvp(network.embed, primals[1:], tangents[1:])
    assert error(embedded, jvp(network.double().embed, (primals[1].double(),), (tangents[1].double(),))[1]) < 1e-5


class Objective(nn.Module):
    """What a training wraps: a loss by a dual pass."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, primals, tangents):
        output, tangent = jvp(self.function, primals, tangents)
        return (output - tangent).square().mean()


def test_within_ddp(tmp_path):
    """The gradients of a dual pass reach DDP's averaging, each of them."""
    network, _, primals, tangents = build("double norm")
    objective = Objective(network)

    def mean_loss(module):
        with seeded_dropout(1, CPU):
            return module(primals, tangents)

    expected = torch.autograd.grad(mean_loss(objective), list(network.parameters()))
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(objective)
        wrapped.register_comm_hook(None, doubled)
        mean_loss(wrapped).backward()
    finally:
        dist.destroy_process_group()
    assert all(torch.equal(p.grad, 2 * e) for p, e in zip(network.parameters(), expected, strict=True))


def doubled(_, bucket):
    """In place of an average, that it shows in one process."""
    future = torch.futures.Future()
    future.set_result(2 * bucket.buffer())
    return future


class Doubled(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


def within_no_grad(x):
    with torch.no_grad():
        return x * 2


def added_in_place(x):
    x += 1
    return x


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: torch.erfinv(x), "derivative of erfinv .*dual_rules"),
        (lambda x: F.max_pool2d(x, 2), "derivative of max_pool2d "),
        (lambda x: x.cumprod(dim=0), "derivative of cumprod "),
        (added_in_place, "derivative of iadd "),
        (lambda x: x.mul_(2), "derivative of mul_ "),
        (lambda x: torch.ones(2, 4, 6, 8).double().add_(x), "derivative of add_ "),
        (lambda x: x.clone().__setitem__(0, 1.0), "derivative of setitem "),
        (lambda x: F.silu(x, inplace=True), "silu with inplace=True"),
        (lambda x: F.dropout(x, inplace=True), "dropout with inplace=True"),
        (lambda x: F.relu(x, inplace=True), "relu with inplace=True"),
        (Doubled.apply, "mul with gradients switched off .*autograd.Function"),
        (within_no_grad, "mul with gradients switched off"),
        (lambda x: x if x.sum() > 0 else -x, None),
        (lambda x: x if x.sum() else -x, "branch"),
        (lambda x: torch.add(input=x, other=1), "keyword"),
        (lambda x: F.normalize(x, p=1.0), "normalize with p=1"),
        (lambda x: x.view(torch.int64), "view as another type"),
        (lambda x: F.conv2d(KERNEL, x), "conv2d by its first tensor alone"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True), "mask"),
        (lambda x: torch.linalg.vector_norm(x, 1), "linalg_vector_norm of order 1"),
    ],
)
def test_what_is_not_known(function, message):
    x, dx = drawn(2, 4, 6, 8)
    if message is None:
        assert torch.equal(jvp(function, (x,), (dx,))[1], dx)
        return
    with pytest.raises(NotImplementedError, match=message):
        jvp(function, (x,), (dx,))


def test_wrong_arguments():
    x, dx = drawn(2, 3)
    with pytest.raises(ValueError, match="2 primals and 1 tangents"):
        jvp(operator.add, (x, x), (dx,))
    with pytest.raises(ValueError, match=r"\[2\] for a primal of shape \[2, 3\]"):
        jvp(operator.neg, (x,), (dx[:, 0],))
    with pytest.raises(TypeError, match="tuple"):
        jvp(lambda x: (x, x), (x,), (dx,))


def test_the_norm_of_nothing_does_not_change():
    _, tangent = jvp(lambda x: torch.linalg.vector_norm(x, dim=1), (torch.zeros(2, 3),), (torch.ones(2, 3),))
    assert not tangent.any()


def test_constants_have_no_tangent():
    x, dx = drawn(2, 3)
    assert not jvp(lambda x: torch.ones_like(x), (x,), (dx,))[1].any()
    assert torch.equal(jvp(lambda x: x * x.detach(), (x,), (dx,))[1], dx * x)
