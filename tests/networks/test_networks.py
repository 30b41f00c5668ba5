"""Properties of every network, whatever its settings."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from fewstep.diffusion.randomness import seeded_dropout
from fewstep.networks import build_network
from fewstep.networks.dit_positions import Rotary

CPU = torch.device("cpu")
DDPMPP = {
    "name": "unet",
    "adaptive_scale": False,
    "skip_scale": 0.5**0.5,
    "resample_proj": True,
    "init": "xavier",
    "endpoint": True,
    "labels_first": True,
    "decoder_attention": "last",
    "attn_resolutions": [8],
}
FOURIER = {"embedding": "fourier", "fourier_scale": 2.0}
TRANSFORMER = {"name": "dit", "num_heads": 2, "num_blocks": 2}
MODERN = {"rms_norm": True, "qk_norm": True, "rope": True, "swiglu": True, "patch": 4, "augment_dim": 5}
SPECS = {
    "plain": ({"name": "unet"}, (1, 8, 8)),
    "attention": ({"name": "unet", "attn_resolutions": [4], "head_channels": 8, "decoder_heads": 2}, (3, 8, 8)),
    "ddpmpp": (DDPMPP, (3, 8, 8)),
    "residual": ({"name": "unet", "encoder": "residual", "resample_filter": [1, 3, 3, 1], **FOURIER}, (3, 8, 12)),
    "skip": ({"name": "unet", "encoder": "skip", "decoder": "skip", "channel_mult": [1, 2, 2]}, (1, 8, 8)),
    "conv": ({"name": "unet", "resample": "conv", "middle_attention": False, "group_channels": 8}, (1, 8, 8)),
    "one size": ({"name": "unet", "channel_mult": [1], "num_blocks": 0, "augment_dim": 5}, (1, 5, 5)),
    "double norm": ({"name": "unet", "double_norm": True, "attn_resolutions": [4]}, (1, 8, 8)),
    "edm2": ({"name": "edm2", "attn_resolutions": [4], "head_channels": 8}, (3, 8, 12)),
    "edm2, one size": ({"name": "edm2", "channel_mult": [1], "num_blocks": 0, "augment_dim": 5}, (1, 5, 5)),
    "edm2, sCM": ({"name": "edm2", "double_norm": True, "embedding": "positional"}, (1, 8, 8)),
    "transformer": (TRANSFORMER, (3, 4, 8)),
    "transformer, all": (TRANSFORMER | MODERN, (1, 8, 8)),
    "points": ({"name": "mlp"}, (2,)),
    "points, double norm": ({"name": "mlp", "double_norm": True}, (2,)),
    "points, fourier": ({"name": "mlp", **FOURIER}, (7,)),
}


def build(case, num_classes=0, drawn=True, **more):
    """A network in eval mode, each parameter of it random."""
    spec, shape = SPECS[case]
    torch.manual_seed(0)
    network = build_network({"channels": 16, "num_blocks": 1, **spec, **more}, shape, num_classes).eval()
    for parameter in network.parameters() if drawn else ():
        nn.init.normal_(parameter, std=0.2)
    return network, torch.randn(4, *shape), torch.randn(4)


@pytest.mark.parametrize("case", SPECS)
def test_shape_and_gradients(case):
    network, x, c_noise = build(case, num_classes=3, second_time=True)
    augment = torch.randn(4, SPECS[case][0].get("augment_dim", 0)) if "augment_dim" in SPECS[case][0] else None
    output = network(x, c_noise, torch.eye(3)[[0, 1, 2, 0]], second=c_noise, augment=augment)
    assert output.shape == x.shape
    output.square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
    assert all(p.grad.any() for n, p in network.named_parameters() if n.endswith("weight"))


@pytest.mark.parametrize("case", ["plain", "transformer", "edm2", "points"])
def test_starts_at_zero(case):
    network, x, c_noise = build(case, drawn=False)
    assert not network(x, c_noise).any()


@pytest.mark.parametrize("case", ["plain", "ddpmpp", "transformer", "edm2", "points"])
@torch.no_grad()
def test_labels(case):
    network, x, c_noise = build(case, num_classes=3)
    labels = torch.eye(3)[[0, 1, 2, 0]]
    output = network(x, c_noise, labels)
    assert not torch.allclose(output, network(x, c_noise, labels.roll(1, 0)), atol=1e-3)
    assert torch.equal(network(x, c_noise), network(x, c_noise, torch.zeros(4, 3)))
    with pytest.raises(ValueError, match=r"labels must be one-hot rows of shape \[\d+, 3\]"):
        network(x, c_noise, torch.zeros(4, 2))


@pytest.mark.parametrize("case", ["plain", "residual", "transformer", "edm2", "points"])
@torch.no_grad()
def test_times_are_told_apart(case):
    network, x, c_noise = build(case)
    assert not torch.allclose(network(x, c_noise), network(x, c_noise + 0.1), atol=1e-3)
    scaled, _, _ = build(case, c_noise_scale=4.0)
    assert torch.allclose(scaled(x, c_noise / 4), network(x, c_noise), atol=1e-5)


@pytest.mark.parametrize("case", ["plain", "ddpmpp", "transformer", "points"])
@torch.no_grad()
def test_second_time_starts_without_effect(case):
    network, x, c_noise = build(case, drawn=False, second_time=True)
    for name, parameter in network.named_parameters():
        if "second" not in name:
            nn.init.normal_(parameter, std=0.2)
    assert torch.equal(network(x, c_noise, second=c_noise), network(x, c_noise))
    nn.init.normal_(network.embed.second_out.weight, std=0.2)
    assert not torch.allclose(network(x, c_noise, second=c_noise), network(x, c_noise), atol=1e-3)


@pytest.mark.parametrize("given", ["second", "augment"])
def test_what_it_was_not_built_for(given):
    network, x, c_noise = build("plain")
    with pytest.raises(ValueError, match=given):
        network(x, c_noise, **{given: c_noise})


@pytest.mark.parametrize("case", ["plain", "transformer", "edm2", "points"])
@torch.no_grad()
def test_dropout_masks_are_shared_by_seed(case):
    network, x, c_noise = build(case, dropout=0.5)

    def output(seed):
        with seeded_dropout(seed, CPU):
            return network(x, c_noise)

    assert torch.equal(output(1), output(2))
    network.train()
    assert torch.equal(output(1), output(1))
    assert not torch.allclose(output(1), output(2), atol=1e-3)


@pytest.mark.parametrize("case", SPECS)
@torch.no_grad()
def test_float64(case):
    network, x, c_noise = build(case, num_classes=3)
    single = network(x, c_noise)
    double = network.double()(x.double(), c_noise.double())
    assert double.dtype == torch.float64
    assert torch.allclose(single.double(), double, atol=1e-4 * double.abs().max().item())


@pytest.mark.parametrize("case", ["attention", "residual", "transformer", "transformer, all", "edm2", "points"])
@torch.no_grad()
def test_bf16_autocast(case):
    network, x, c_noise = build(case, num_classes=3, c_noise_scale=1000.0)
    labels = torch.eye(3)[[0, 1, 2, 0]]
    expected, emb = network(x, c_noise, labels), network.embed(c_noise, labels)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network.embed(c_noise, labels), emb)  # times keep float32
        output = network(x, c_noise, labels).float()
    assert 0 < (output - expected).norm() < 0.05 * expected.norm()


@pytest.mark.parametrize("case", ["attention", "residual", "transformer, all", "edm2", "points"])
@torch.no_grad()
def test_forward_mode(case):
    network, x, c_noise = build(case)
    network, x, c_noise, step = network.double(), x.double(), c_noise.double(), 1e-6
    dx, dc = torch.randn_like(x), torch.randn_like(c_noise)
    with sdpa_kernel(SDPBackend.MATH):
        _, tangent = torch.func.jvp(network, (x, c_noise), (dx, dc))
    above, below = network(x + step * dx, c_noise + step * dc), network(x - step * dx, c_noise - step * dc)
    assert torch.allclose(tangent, (above - below) / (2 * step), atol=1e-5 * tangent.abs().max().item())


@pytest.mark.parametrize(("size", "millions"), [("S", 33), ("B", 130), ("M", 307), ("L", 457), ("XL", 675)])
def test_named_sizes_of_the_transformer(size, millions):
    """As published, with 1000 classes and a variance that we leave out; M as counted."""
    with torch.device("meta"):
        network = build_network({"name": "dit", "size": size}, (4, 32, 32), 1000)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=1)


def test_a_number_takes_the_place_of_a_sizes_own():
    with torch.device("meta"):
        network = build_network({"name": "dit", "size": "B", "num_blocks": 2}, (1, 8, 8))
    assert (len(network.blocks), network.stem.out_channels, network.blocks[0].attention.heads) == (2, 768, 12)


@torch.no_grad()
def test_rotary_products_depend_on_distances_alone():
    rotary = Rotary(5, 6, 8).double()
    q, k = torch.randn(2, 8, dtype=torch.float64)
    products = (rotary(q.expand(30, 8)) @ rotary(k.expand(30, 8)).T).reshape(5, 6, 5, 6)
    assert torch.allclose(products[1:, 2:, 1:, 2:], products[:-1, :-2, :-1, :-2], atol=1e-6)
    assert not torch.allclose(products[1:, :, :-1], products[:-1, :, 1:], atol=1e-2), "a distance has a sign"


@pytest.mark.parametrize(
    ("spec", "shape", "message"),
    [
        ({"name": "unett"}, (1, 8, 8), "unet"),
        ({}, (1, 8, 8), "unet"),
        ({"name": "unet", "chanels": 3}, (1, 8, 8), "'channels'"),
        ({"name": "unet", "embeding": "fourier"}, (1, 8, 8), "'embedding'"),
        ({"name": "unet", "encoder": "residul"}, (1, 8, 8), "'residual'"),
        ({"name": "unet", "embedding": "furier"}, (1, 8, 8), "'fourier'"),
        ({"name": "unet", "channel_mult": [1, 1, 1, 1, 1]}, (1, 8, 8), "halved"),
        ({"name": "unet", "attn_resolutions": [16]}, (1, 8, 8), "16"),
        ({"name": "unet", "channels": 18}, (1, 8, 8), "multiple of 4"),
        ({"name": "unet", "num_heads": 3}, (1, 8, 8), "3 attention heads"),
        ({"name": "unet", "resample_filter": [1, 2, 1]}, (1, 8, 8), "even"),
        ({"name": "unet", "resample_filter": [1, -1]}, (1, 8, 8), "must be weights whose sum is not 0"),
        (
            {"name": "unet", "channels": 20, "channel_mult_noise": 0.35},
            (1, 8, 8),
            "must be an even number of at least 2, got 7",
        ),
        ({"name": "unet"}, (2,), "mlp"),
        ({"name": "unet", "double_norm": True, "adaptive_scale": False}, (1, 8, 8), "adaptive_scale"),
        ({"name": "mlp"}, (1, 8, 8), "unet"),
        ({"name": "dit", "size": "Q"}, (1, 8, 8), "There is no size 'Q'. Allowed: B, L, M, S, XL"),
        (
            {"name": "dit", "patch": 3},
            (1, 8, 12),
            "patch must divide both sides of 8x12 pixels, got 3. Allowed: 1, 2, 4.$",
        ),
        ({"name": "dit", "patch": 9}, (1, 9, 9), "patch must be between 1 and 8, got 9"),
        ({"name": "dit", "num_heads": 5}, (1, 8, 8), "384 channels cannot be divided among 5 attention heads"),
        ({"name": "dit", "channels": 18, "num_heads": 1}, (1, 8, 8), "channels must be a multiple of 4, got 18"),
        (
            {"name": "dit", "num_heads": 64, "rope": True},
            (1, 8, 8),
            "channels / num_heads must be a multiple of 4 if rope",
        ),
        ({"name": "dit", "mlp_ratio": 1e-3}, (1, 8, 8), "channels x mlp_ratio must be at least 2, got 0"),
        ({"name": "dit", "channels": -4}, (1, 8, 8), "channels must be at least 1, got -4"),
        ({"name": "dit", "channel_mult": [1]}, (1, 8, 8), "There is no argument 'channel_mult' of the network 'dit'"),
        ({"name": "dit"}, (2,), r"'dit' takes images of shape \[C, H, W\], got \[2\]: use 'mlp'"),
        ({"name": "mlp", "attn_resolutions": [4]}, (2,), "attn_resolutions"),
    ],
)
def test_bad_specs(spec, shape, message):
    with pytest.raises(ValueError, match=message):
        build_network(spec, shape)
