"""Activations that are computed again: the same bits, dropout masks included, and less that is kept."""

import copy

import pytest
import torch
from torch._dynamo.utils import counters
from torch.autograd.graph import saved_tensors_hooks

from fewstep.networks import build_network
from fewstep.networks.compiled import compile_passes
from fewstep.networks.conditioned_block import blocks_of, recompute_activations
from fewstep.networks.dual import jvp

UNET = {"name": "unet", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
SPECS = {
    "ddpm++": UNET,
    "ncsn++": UNET | {"encoder": "residual", "resample_filter": [1, 3, 3, 1]},
    "conv": UNET | {"resample": "conv", "double_norm": True},
    "edm2": {"name": "edm2", "channels": 8, "channel_mult": [1, 2], "num_blocks": 1, "head_channels": 8},
    "dit": {"name": "dit", "size": "S", "patch": 2, "channels": 24, "num_blocks": 2, "num_heads": 2, "rope": True},
    "mlp": {"name": "mlp", "channels": 16, "num_blocks": 3},
}


def network_of(name: str, randomised) -> tuple[torch.nn.Module, tuple[int, ...]]:
    shape = (5,) if name == "mlp" else (3, 8, 8)
    spec = SPECS[name] | {"dropout": 0.3, "second_time": True}
    return randomised(build_network(spec, shape, 3), std=0.3).double(), (2, *shape)


def plain_pass(network, x):
    times = torch.tensor([0.3, -1.0], dtype=x.dtype)
    return (network(x, times, torch.eye(3, dtype=x.dtype)[:2], times / 2),)


def dual_pass(network, x):
    """By x and both times, as a total derivative has it."""
    times, labels = torch.tensor([0.3, -1.0], dtype=x.dtype), torch.eye(3, dtype=x.dtype)[:2]
    given = x, times, labels, times / 2
    return jvp(network, given, (x.cos(), torch.ones_like(times), None, times))


def by_time(network, x):
    """By the second time alone, so that the features of the first block have no tangent."""
    times, labels = torch.tensor([0.3, -1.0], dtype=x.dtype), torch.eye(3, dtype=x.dtype)[:2]
    return jvp(lambda second: network(x, times, labels, second), (times / 2,), (times,))


def numbers(network, pass_, shape) -> tuple[list[torch.Tensor], int]:
    """What a pass gives, with its gradients, those of x too; and the bytes that it keeps."""
    kept: dict[int, int] = {}

    def keep(tensor):
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    x = torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=next(network.parameters()).dtype).sin().view(shape)
    x.requires_grad_(pass_ is plain_pass)
    torch.manual_seed(0)  # of dropout
    with saved_tensors_hooks(keep, lambda tensor: tensor):
        given = pass_(network, x)
    for parameter in network.parameters():
        kept.pop(parameter.untyped_storage().data_ptr(), None)
    torch.manual_seed(1)  # as what comes before the backward pass may draw too
    wanted = [*network.parameters(), *([x] if x.requires_grad else [])]
    found = torch.autograd.grad(given[0].square().sum(), wanted, allow_unused=True)
    return [tensor for tensor in (*given, *found) if tensor is not None], sum(kept.values())


@pytest.mark.parametrize("pass_", [plain_pass, dual_pass, by_time])
@pytest.mark.parametrize("name", SPECS)
def test_what_is_computed_again_has_the_same_bits_and_less_is_kept(name, pass_, randomised):
    network, shape = network_of(name, randomised)
    plain, kept = numbers(network, pass_, shape)
    recompute_activations(network)
    assert len(blocks_of(network)) > 1
    again, kept_now = numbers(copy.deepcopy(network), pass_, shape)
    assert len(plain) == len(again) and all(map(torch.equal, plain, again))
    assert kept_now < 0.5 * kept


def test_without_gradients_nothing_is_computed_again(randomised):
    network, shape = network_of("mlp", randomised)
    recompute_activations(network)
    x = torch.zeros(shape, dtype=torch.float64)
    with torch.inference_mode():
        torch.manual_seed(0)
        found = dual_pass(network, x)
    torch.manual_seed(0)
    assert all(map(torch.equal, found, dual_pass(network, x)))


@pytest.mark.check
@pytest.mark.parametrize("pass_", [plain_pass, dual_pass])
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_networks_compute_them_again_in_one_graph(backend, pass_, randomised, monkeypatch):
    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr("fewstep.networks.compiled.BACKEND", backend)
    network, shape = network_of("mlp", randomised)
    plain, _ = numbers(network, pass_, shape)
    recompute_activations(network)
    compile_passes(network)
    compiled, _ = numbers(network, pass_, shape)
    torch.testing.assert_close(compiled, plain, rtol=1e-9, atol=1e-12)
    assert not counters["graph_break"]
