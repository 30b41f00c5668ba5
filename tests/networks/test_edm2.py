"""EDM2's U-Net gives the authors' numbers, in eval mode and in training, and starts a student as its teacher."""

import math

import pytest
import torch
from torch import nn

from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.networks import build_network
from fewstep.networks.magnitude import Forced, mp_cat, mp_silu, mp_sum
from fewstep.networks.released import from_published
from fewstep.networks.released_weights import edm2_name, import_weights
from fewstep.networks.weighting import LogVariance
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.denoising import Denoising
from fewstep.preconditioning import build_preconditioner

FAMILIES = ["edm2", "edm2_uncond"]
GO_ON = torch.zeros(())
TINY = {"name": "edm2", "channels": 8, "num_blocks": 1, "head_channels": 8}


class Theirs:
    """The authors' small network as ours: the denoiser, its log-variance, and their reference."""

    def __init__(self, reference):
        self.reference, self.sigma_data = reference, reference.config.get("sigma_data", 0.5)
        weights = reference.parameters | reference.buffers
        network = build_network(**from_published(reference.config))
        network.load_state_dict(import_weights(reference.config, weights))
        self.denoiser = build_preconditioner({"name": "edm"}, network, self.sigma_data)
        self.log_variance = LogVariance(reference.config["logvar_channels"])
        names = {"embed.frequencies": "fourier.freqs", "embed.phases": "fourier.phases", "out.weight": "linear.weight"}
        self.log_variance.load_state_dict({ours: weights[f"logvar_{name}"] for ours, name in names.items()})

    def outputs(self) -> dict[str, torch.Tensor]:
        """F, D and the logarithm of the variance at their input."""
        given = self.reference.inputs
        x, sigma, labels = given["x"], given["sigma"], given.get("class_labels")
        c_in = (sigma**2 + self.sigma_data**2).rsqrt()[:, None, None, None]
        found = {"F": self.denoiser.network(c_in * x, sigma.log() / 4, labels), "D": self.denoiser(x, sigma, labels)}
        return found | {"logvar": self.log_variance(sigma.log() / 4)}

    def force(self):
        """Forced normalisation, as before their first pass in training."""
        for module in [*self.denoiser.modules(), *self.log_variance.modules()]:
            if isinstance(module, Forced):
                module.after_step(GO_ON)


@pytest.fixture(params=FAMILIES)
def theirs(request, reference):
    return Theirs(reference(request.param))


def assert_same(output, expected, tolerance=1e-5):
    assert (output - expected).abs().max() <= tolerance * expected.abs().max()


@torch.no_grad()
def test_outputs_in_eval_mode(theirs):
    theirs.denoiser.eval()
    for name, output in theirs.outputs().items():
        assert_same(output, theirs.reference.tensors[f"output.{name}"])
    if (labels := theirs.reference.inputs.get("class_labels")) is not None:
        given, nobody = theirs.reference.inputs, torch.zeros_like(labels)
        expected = theirs.reference.tensors["output.D_no_label"]
        assert_same(theirs.denoiser(given["x"], given["sigma"], nobody), expected)
        assert_same(theirs.denoiser(given["x"], given["sigma"]), expected)


def test_forced_weights_outputs_and_gradients_in_training(theirs):
    theirs.denoiser.train()
    theirs.force()
    network, reference = theirs.denoiser.network, theirs.reference
    weights = {**network.state_dict(), "logvar_linear.weight": theirs.log_variance.out.weight.detach()}
    for name, rms in reference.facts["rms_after_train_forward"].items():
        ours = weights[edm2_name(name)].flatten(1)
        assert ours.square().mean().sqrt().item() == pytest.approx(rms, rel=1e-5)
    for name, weight in reference.part("weight_after").items():
        ours = weights[edm2_name(name)]
        if "qkv" in name:  # theirs has q, k and v of a channel together
            ours = ours.unflatten(0, (3, -1)).transpose(0, 1).flatten(0, 1)
        assert_same(ours, weight)
    outputs = theirs.outputs()
    for name, output in outputs.items():
        assert_same(output, reference.tensors[f"train.{name}"])
    assert not torch.allclose(outputs["F"], reference.tensors["output.F"], rtol=1e-4)
    (outputs["D"].square().mean() + outputs["logvar"].mean()).backward()
    trained = {"out_conv": network.output.weight, "out_gain": network.output.gain}
    for name, parameter in (trained | {"logvar_linear": theirs.log_variance.out.weight}).items():
        assert_same(parameter.grad, reference.tensors[f"train.grad.{name}"], 1e-4)


class Recorded(StepRandomness):
    """The authors' draws, in place of a seed's."""

    def __init__(self, drawn: dict[str, torch.Tensor]):
        super().__init__(0, 0, len(drawn["noise"]), slice(0, len(drawn["noise"])))
        self.drawn = drawn

    def normal(self, shape):
        return self.drawn["noise" if shape else "rnd_normal"]


def test_the_loss_with_its_log_variance(theirs):
    given, numbers = theirs.reference.inputs, theirs.reference.facts["loss"]
    objective = Denoising(level_mean=numbers["P_mean"], level_std=numbers["P_std"], log_variance=True)
    student = theirs.denoiser.eval()
    networks = Networks(student, student, None, build_distance("l2"), {"log_variance": theirs.log_variance})
    loss = objective(networks, Batch(given["x0"], given.get("class_labels")), Progress(0, 1, 0, 1), Recorded(given))
    assert_same(loss, theirs.reference.tensors["loss.value"])


def test_every_layer_is_forced_and_no_gain(theirs):
    forced = {id(m.weight) for m in theirs.denoiser.modules() if isinstance(m, Forced)}
    named = dict(theirs.denoiser.network.named_parameters())
    assert forced == {id(p) for p in named.values() if p.ndim > 1}
    changed = {edm2_name(name) for name in theirs.reference.facts["changed_by_train_forward"]}
    assert changed - {"logvar_linear.weight"} == {name for name, p in named.items() if id(p) in forced}


def test_forcing_twice_is_forcing_once_and_a_flag_skips_it():
    layer = build_network(TINY, (1, 8, 8)).stem
    assert layer.weight.flatten(1).square().mean(1).sub(1).abs().max() < 4e-4, "weights begin at unit length"
    with torch.no_grad():
        layer.weight.mul_(3)
    before = layer.weight.clone()
    layer.after_step(torch.ones(()))
    assert torch.equal(layer.weight, before)
    layer.after_step(GO_ON)
    once = layer.weight.clone()
    layer.after_step(GO_ON)
    torch.testing.assert_close(layer.weight, once, rtol=1e-4, atol=0)
    torch.testing.assert_close(once, before / (before.flatten(1).square().mean(1).sqrt() + 1e-4)[:, None, None, None])


@torch.no_grad()
def test_magnitudes_are_kept():
    drawn = torch.Generator().manual_seed(0)
    a, b = torch.randn(64, 32, 16, 16, generator=drawn), torch.randn(64, 96, 16, 16, generator=drawn)
    parts = {"silu": mp_silu(a), "sum": mp_sum(a, b[:, :32], 0.3), "cat": mp_cat(a, b)}
    for name, output in parts.items():
        assert output.square().mean().sqrt().item() == pytest.approx(1, abs=0.01), name
    joined = parts["cat"].square().sum(dim=(0, 2, 3))
    assert (joined[:32].sum() / joined[32:].sum()).item() == pytest.approx(1, rel=0.02), "each side contributes alike"
    layer = build_network(TINY | {"channels": 64}, (63, 8, 8)).stem
    assert layer(a[:, :1].expand(-1, 64, -1, -1)).shape == (64, 64, 16, 16)


@pytest.mark.parametrize("told", ["second_time", "augment_dim"])
@torch.no_grad()
def test_a_student_starts_as_its_teacher(told):
    teacher = build_network(TINY | {"attn_resolutions": [4]}, (3, 8, 8), 3)
    student = build_network(TINY | {"attn_resolutions": [4], told: 1}, (3, 8, 8), 3)
    for parameter in teacher.parameters():
        nn.init.normal_(parameter)
    missing, unexpected = student.load_state_dict(teacher.state_dict(), strict=False)
    layer = {"second_time": "second", "augment_dim": "augment"}[told]
    assert sorted(missing) == [f"embed.{layer}.gain", f"embed.{layer}.weight"] and not unexpected
    x, c_noise, labels = torch.randn(4, 3, 8, 8), torch.randn(4), torch.eye(3)[[0, 1, 2, 0]]
    given = {layer: torch.randn(4) if layer == "second" else torch.randn(4, 1)}
    expected = teacher(x, c_noise, labels)
    assert torch.equal(student(x, c_noise, labels, **given), expected)
    getattr(student.embed, layer).gain.fill_(1.0)
    assert not torch.allclose(student(x, c_noise, labels, **given), expected, atol=1e-3)


def test_dropout_by_size():
    network = build_network(TINY | {"channel_mult": [1, 1, 1], "dropout": 0.4, "dropout_size": 8}, (1, 16, 16))
    rates = {level: block.dropout.p for level, part in network.encoder.items() for block in part.blocks}
    assert rates == {"16x16": 0.0, "8x8": 0.4, "4x4": 0.4}
    assert network.decoder["16x16"].up.dropout.p == 0.0 and network.decoder["8x8"].up.dropout.p == 0.4


def test_widths_of_the_embedding():
    network = build_network(TINY | {"channel_mult": [1, 3], "channel_mult_noise": 2}, (1, 8, 8))
    assert network.embed.noise.weight.shape == (24, 16)
    wide = build_network(TINY | {"channel_mult_emb": 4}, (1, 8, 8))
    assert wide.embed.noise.weight.shape == (32, 8)


@pytest.mark.parametrize(
    ("arguments", "shape", "words"),
    [
        ({}, (2,), "the network 'edm2' takes images of shape .*use 'mlp' for points"),
        ({"channel_mult": [1, 1, 1, 1, 1]}, (1, 8, 8), "8x8 pixels can be halved 3 times"),
        ({"attn_resolutions": [16]}, (1, 8, 8), r"attn_resolutions must be sizes .*got \[16\]. Try"),
        ({"channels": 10, "head_channels": 6}, (1, 8, 8), "20 channels cannot be divided among 3 attention heads"),
        ({"head_channels": 0}, (1, 8, 8), "head_channels must be at least 1 with the network 'edm2', got 0"),
        ({"channel_mult": [1, 0.01]}, (1, 8, 8), "channels x channel_mult must be at least 1 at each size"),
        ({"channel_mult_noise": 0.5, "channels": 10}, (1, 8, 8), "an even number of at least 2, got 5"),
        ({"embedding": "furier"}, (1, 8, 8), "'fourier'"),
        ({"init": "xavier"}, (1, 8, 8), "no argument 'init' of the network 'edm2'"),
        ({"dropout_size": -1}, (1, 8, 8), "dropout_size must be at least 0, got -1"),
    ],
)
def test_what_does_not_fit_is_said_in_words(arguments, shape, words):
    with pytest.raises(ValueError, match=words):
        build_network(TINY | arguments, shape)


def test_the_angle_and_its_positional_embedding_have_unit_magnitude():
    network = build_network(TINY | {"embedding": "positional", "c_noise": "angle", "double_norm": True}, (1, 8, 8))
    assert network.c_noise == "angle"
    times = network.embed.embed(torch.rand(100) * math.pi / 2) * network.embed.scale
    assert times.square().mean().sqrt().item() == pytest.approx(1, abs=1e-6)
