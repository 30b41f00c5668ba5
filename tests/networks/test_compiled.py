"""Compiled networks give what the plain ones give, with a derivative too."""

import copy
import logging

import pytest
import torch
from torch._dynamo.utils import counters

from fewstep.networks import build_network, compiled
from fewstep.networks.compiled import compile_passes, compiler_works
from fewstep.networks.dual import jvp

NETWORK = {"name": "mlp", "channels": 16, "num_blocks": 1, "dropout": 0.3, "second_time": True}


@pytest.fixture(autouse=True)
def forgotten():
    """No test finds what another has compiled."""
    torch._dynamo.reset()
    counters.clear()


@pytest.fixture
def network(randomised):
    return randomised(build_network(NETWORK, (2,), 3), std=0.3)


GIVEN = [torch.linspace(-1, 1, 8).view(4, 2), torch.linspace(-1, 1, 4), torch.eye(3)[[0, 1, 2, 0]]]
TANGENTS = [torch.linspace(1, 2, 8).view(4, 2), torch.ones(4), None, torch.ones(4)]


def plain_pass(network) -> tuple:
    return (network(*GIVEN),)


def dual_pass(network) -> tuple:
    """With arithmetic before and after the network, as preconditioners have it, and a condition by its name."""

    def function(x, c_noise, labels, second):
        return 2 * x + network(0.5 * x, c_noise.sin(), labels, second=second**2)

    return jvp(function, (*GIVEN, GIVEN[1]), tuple(TANGENTS))


def numbers(network, pass_) -> list[torch.Tensor]:
    """Of one pass: what it gives, and its gradients."""
    torch.manual_seed(0)  # of dropout
    given = pass_(network)
    gradients = torch.autograd.grad(given[0].square().sum(), list(network.parameters()), allow_unused=True)
    return [tensor for tensor in (*given, *gradients) if tensor is not None]


CHECKED = pytest.mark.check


@pytest.mark.slow
@pytest.mark.parametrize("pass_", [pytest.param(plain_pass, marks=CHECKED), dual_pass])
@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=CHECKED)])
def test_a_compiled_pass_is_the_plain_one(pass_, backend, network, monkeypatch):
    monkeypatch.setattr(compiled, "BACKEND", backend)
    plain = copy.deepcopy(network)
    compile_passes(network)
    given, again, expected = numbers(network, pass_), numbers(network, pass_), numbers(plain, pass_)
    for found, repeated, tensor in zip(given, again, expected, strict=True):
        torch.testing.assert_close(found, tensor, rtol=1e-5, atol=1e-5 * float(tensor.detach().abs().max()))
        assert torch.equal(found, repeated) and found.requires_grad == tensor.requires_grad
    assert counters["stats"]["unique_graphs"] == 1 and not counters["graph_break"]


def test_copies_are_not_compiled(network):
    compile_passes(network)
    copied = copy.deepcopy(network)
    assert network.is_compiled and not copied.is_compiled
    assert torch.equal(*(plain_pass(copied.eval())[0] for _ in range(2)))
    assert not counters["stats"] and list(copied.state_dict()) == list(network.state_dict())


def test_where_there_is_no_compiler_that_is_said_once(monkeypatch, caplog):
    def broken(function, **options):
        raise RuntimeError("no working C++ compiler\nand a long tale")

    compiler_works.cache_clear()
    monkeypatch.setattr(torch, "compile", broken)
    with caplog.at_level(logging.WARNING):
        assert not compiler_works("cpu") and not compiler_works("cpu")
    assert [record.message for record in caplog.records] == [
        "Networks are not compiled, which costs speed and nothing else. torch.compile says: no working C++ compiler"
    ]
    compiler_works.cache_clear()
