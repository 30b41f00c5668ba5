"""Sizes that fit the U-Net, and settings that are suggested for those that do not."""

import re
from ast import literal_eval

import pytest
import torch

from fewstep.networks import build_network
from fewstep.networks.unet_sizes import feature_sizes
from fewstep.support.errors import InvalidInput


def build(shape, mult, attention):
    spec = {"name": "unet", "channels": 8, "channel_mult": mult, "num_blocks": 1, "attn_resolutions": attention}
    return build_network(spec, shape, 0)


@pytest.mark.parametrize(
    ("side", "mult", "attention", "words"),
    [
        (
            30,
            [1, 2, 2],
            [8],
            "30x30 pixels can be halved once, so channel_mult must have at most 2 entries, got [1, 2, 2].",
        ),
        (
            28,
            [1, 2, 2],
            [16],
            "attn_resolutions must be sizes of this network on images of 28x28 ([28, 14, 7]), got [16].",
        ),
        (15, [1, 2], [8], "15x15 pixels cannot be halved, so channel_mult must have at most 1 entry, got"),
        (100, [1, 2, 2, 2], [], "100x100 pixels can be halved twice, so channel_mult must have at most 3 entries"),
        ((48, 60), [1, 1, 1, 1], [24], "48x60 pixels can be halved twice"),
    ],
)
def test_what_does_not_fit_is_answered_with_what_does(side, mult, attention, words):
    shape = (3, side, side) if isinstance(side, int) else (3, *side)
    with pytest.raises(InvalidInput) as caught:
        build(shape, mult, attention)
    said = str(caught.value)
    assert said.startswith(words)
    tried = {name: literal_eval(value) for name, value in re.findall(r"(\w+)=(\[.*?\])", said.partition("Try ")[2])}
    fitting = build(shape, tried.get("channel_mult", mult), tried.get("attn_resolutions", attention))
    assert fitting(torch.zeros(1, *shape), torch.zeros(1)).shape == (1, *shape)
    if sizes := re.search(r"images of (\d+)x(\d+)", said):
        assert feature_sizes((3, *map(int, sizes.groups())), mult, [])


@pytest.mark.parametrize("shape", [(3, 48, 64), (4, 28, 28), (1, 30, 20)])
def test_images_of_any_channels_and_sides(shape):
    x = torch.randn(2, *shape)
    assert build(shape, [1, 2], [shape[1] // 2])(x, torch.zeros(2)).shape == x.shape
