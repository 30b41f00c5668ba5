"""Published transformers are settings of ours: same parameters, same numbers."""

import json
import math
import zlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn.functional import one_hot

from fewstep.networks import build_network
from fewstep.networks.released_transformers import from_transformer, is_transformer, transformer_weights

REFERENCE = Path(__file__).parents[1] / "reference" / "networks"
HEADS = 4  # of the small ones


def drawn(name, shape):
    r = torch.randn(shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
    if r.ndim > 1:
        return r / math.sqrt(r[0].numel())
    return 1 + 0.1 * r if name.endswith("weight") else 0.05 * r


def small(family):
    """Our network with the weights of a small one of theirs, and their tensors."""
    facts = json.loads((REFERENCE / f"small_{family}.json").read_text())
    tensors = load_file(REFERENCE / f"small_{family}.safetensors")
    weights = {name: drawn(name, shape) for name, shape in facts["parameters"].items()}
    weights["pos_embed"] = tensors["buffer.pos_embed"]
    network = build_network(**from_transformer(weights, HEADS))
    assert (network.positions - weights["pos_embed"]).abs().max() < 1e-6  # ours is theirs before it is loaded
    network.load_state_dict(transformer_weights(weights))
    return network, tensors


def labels_of(classes):
    """One-hot rows; the class after the last is no label."""
    return one_hot(classes, 6)[:, :5].float()


def assert_same(output, expected):
    assert (output - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("family", ["dit", "sit", "meanflow_sit"])
@torch.no_grad()
def test_output(family, train):
    network, given = small(family)
    second = {"second": given["input.t"] - given["input.r"]} if "input.r" in given else {}
    network.train(train)
    output = network(given["input.x"], given["input.t"], labels_of(given["input.y"]), **second)
    assert_same(output, given["output"][:, :4])  # of DiT, the variance follows


@torch.no_grad()
def test_their_guidance_is_ours():
    """Of strength 3, on the first three channels alone."""
    network, given = small("dit")
    x, t, labels = given["input.x"][:2], given["input.guided_t"][:2], labels_of(given["input.guided_y"][:2])
    guided, without = network(x, t, labels), network(x, t)
    guided[:, :3] = without[:, :3] + 3 * (guided - without)[:, :3]
    assert_same(guided, given["output.guided"][:2, :4])


def shapes_of(name):
    facts = json.loads((REFERENCE / f"{name}.keys.json").read_text())
    return {n: torch.empty(shape, device="meta") for n, shape in facts["parameters"].items()}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dit_xl_2_256", {"size": "XL", "patch": 2}),
        ("dit_b_4_256", {"size": "B", "patch": 4}),
        ("meanflow_sit_b_4_256", {"size": "B", "patch": 4, "second_time": True}),
    ],
)
def test_full_size_parameters(name, expected):
    weights = shapes_of(name)
    published = from_transformer(weights)
    assert published == {"spec": {"name": "dit", **expected}, "shape": (4, 32, 32), "num_classes": 1000}
    with torch.device("meta"):
        ours = build_network(**published).state_dict()
    assert {n: t.shape for n, t in transformer_weights(weights).items()} == {n: t.shape for n, t in ours.items()}


@pytest.mark.parametrize("missing", ["x_embedder.proj.weight", "pos_embed", "final_layer.linear.weight"])
def test_other_weights_are_not_taken_for_a_transformer(missing):
    weights = shapes_of("dit_b_4_256")
    assert is_transformer(weights)
    del weights[missing]
    assert not is_transformer(weights)
    with pytest.raises(ValueError, match=f"not the weights of DiT or SiT: {missing} is missing"):
        from_transformer(weights)


def test_a_size_that_is_not_published_needs_its_heads():
    facts = json.loads((REFERENCE / "small_dit.json").read_text())
    weights = {n: torch.empty(shape, device="meta") for n, shape in facts["parameters"].items()}
    with pytest.raises(ValueError, match=r"num_heads must be given, .* 32 channels and 2 blocks .* \(S, B, M, L, XL\)"):
        from_transformer(weights)
