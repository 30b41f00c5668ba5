"""A network's passes in another precision, and compiled."""

import copy

import pytest
import torch

from fewstep.networks import build_network, compiled
from fewstep.networks.execution import PLAIN, Execution
from fewstep.support.errors import InvalidInput

NETWORK = {"name": "mlp", "channels": 16, "num_blocks": 1}


@pytest.fixture
def network(randomised):
    return randomised(build_network(NETWORK, (2,), 0), std=0.3).eval()


def given(batch):
    return torch.linspace(-1, 1, 2 * batch).view(batch, 2), torch.linspace(-1, 1, batch)


def test_bf16_is_autocast_within_the_network_alone(network):
    plain, copied = network(*given(4)), copy.deepcopy(network)
    with torch.autocast("cpu", torch.bfloat16):
        expected = network(*given(4)).float()
    Execution("bf16").apply(network)
    found = network(*given(4))
    assert torch.equal(found, expected) and found.dtype == torch.float32
    assert not torch.equal(found, plain) and torch.allclose(found, plain, atol=0.05)
    assert torch.equal(copied(*given(4)), plain), "copies are left out"
    PLAIN.apply(network)
    assert torch.equal(network(*given(4)), plain)


def test_batches_of_any_size_share_their_graphs(network, monkeypatch):
    graphs = []

    def counted(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    monkeypatch.setattr(compiled, "BACKEND", counted)
    expected = [network(*given(batch)) for batch in (8, 5, 7, 3, 1, 8)]
    Execution("fp32", compiled=True).apply(network)
    found = [network(*given(batch)) for batch in (8, 5, 7, 3, 1, 8)]
    assert all(map(torch.equal, found, expected))
    assert len(graphs) == 3, "of the first size, of any, and of batches of one"


def test_what_tf32_means_is_set_for_each_pass(network, monkeypatch):
    asked = []
    monkeypatch.setattr(compiled, "BACKEND", "eager")
    monkeypatch.setattr("fewstep.networks.execution.set_float32_precision", lambda device, said: asked.append(said))
    for execution in (Execution("fp32", compiled=True), Execution("tf32"), Execution("bf16")):
        execution.apply(network)
        network(*given(2))
    assert asked == ["highest", "high", "high"]


def test_settings_are_checked_and_turned_into_what_they_mean_here():
    assert Execution.on("cpu", "bf16", "auto") == Execution("bf16", compiled=False)
    assert str(Execution("bf16", compiled=True)) == "bf16, compiled" and str(PLAIN) == "fp32"
    with pytest.raises(InvalidInput, match="precision 'bf61'. Did you mean 'bf16'"):
        Execution("bf61")
