"""NVIDIA's EDM2 pickles: known by their shapes, the authors' numbers after import, others refused in words."""

import json
from pathlib import Path

import pytest
import torch

from fewstep.exchange import import_nvidia
from fewstep.exchange.edm2_config import edm2_config
from fewstep.models.model import Model
from fewstep.networks import build_network
from fewstep.networks.released import from_published
from fewstep.networks.released_weights import import_weights

REFERENCE = Path(__file__).parents[1] / "reference" / "networks"


@pytest.mark.parametrize("size", ["img64_s", "img512_xs"])
def test_the_published_sizes_are_known_by_their_shapes_and_match_name_by_name(size):
    facts = json.loads((REFERENCE / f"edm2_{size}.keys.json").read_text())
    with torch.device("meta"):
        weights = {name: torch.empty(shape) for name, shape in facts["parameters"].items()}
        published = from_published(edm2_config(weights, {}))
        assert published == from_published(facts["config"])
        ours = build_network(**published).state_dict()
        theirs = import_weights(facts["config"], weights)
    assert {name: t.shape for name, t in theirs.items()} == {name: t.shape for name, t in ours.items()}
    buffers = sum(t.numel() for name, t in ours.items() if name.startswith("embed.time."))
    log_variance = weights["logvar_linear.weight"].numel()
    assert sum(t.numel() for t in ours.values()) - buffers == facts["count"] - log_variance


@pytest.mark.parametrize("says_its_arguments", [True, False])
def test_a_pickle_becomes_a_teacher_that_gives_the_authors_numbers(
    reference, network_pickle, tmp_path, says_its_arguments
):
    theirs = reference("edm2")
    path = network_pickle(theirs, "Precond", says_its_arguments=says_its_arguments)
    model = import_nvidia(path, "teacher", "imagenet64").save(tmp_path / "model").load("cpu")
    assert (model.samplers[0], model.space.shape, len(model.space.classes)) == ("heun", (3, 16, 16), 5)
    assert model.spec.network["head_channels"] == (8 if says_its_arguments else 16)
    given, expected = theirs.inputs, theirs.tensors["output.D"]
    if says_its_arguments:  # to the half precision of the file
        output = model.function(given["x"], given["sigma"], given["class_labels"])
        assert (output - expected).abs().max() < 1e-3 * expected.abs().max()
    again = Model.load(tmp_path / "model", "cpu")
    assert again.sha256 == model.sha256 and again.sample(2, nfe=3).shape == (2, 3, 16, 16)


def test_a_students_file_is_sampled_by_jumps(reference, network_pickle):
    model = import_nvidia(network_pickle(reference("edm2"), "Precond"), "ect", "x", teacher=False, levels={2: [1.526]})
    assert model.samplers[0] == "multistep" and model.levels(2).tolist() == [80.0, 1.526]


@pytest.mark.parametrize(
    ("attributes", "config", "words"),
    [
        (
            {"encoder": "StabilityVAEEncoder"},
            {},
            "latents of StabilityVAEEncoder: only networks of pixels",
        ),
        ({"sigma_data": 1.0}, {}, "must have sigma_data 0.5, got 1.0"),
        ({}, {"res_balance": 0.5}, "res_balance must be 0.3, .* got 0.5"),
        ({}, {"channels_per_head": 10**12}, "by numbers and words, and channels_per_head is neither"),
        ({}, {"channels_per_head": 5}, "fits no network: 16 channels cannot be divided among 3 attention heads"),
        ({}, {"channels_per_head": 0}, "a configuration that fits no network"),
        ({}, {"dropout": 3.0}, "a configuration that fits no network: dropout must be"),
        ({}, {"sizes": 3}, "There is no key of a published configuration 'sizes'"),
    ],
)
def test_other_files_are_refused_in_words(reference, network_pickle, attributes, config, words):
    theirs = reference("edm2")
    theirs.config |= config
    with pytest.raises(ValueError, match=words):
        import_nvidia(network_pickle(theirs, "Precond", **attributes), "teacher", "imagenet64")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"unet.enc.16x16_conv.weight": None}, "do not have the names of EDM2's network"),
        ({"unet.emb_noise.weight": None}, "a configuration that fits no network"),
        ({"unet.out_conv.weight": None}, "output.weight is missing"),
        ({"unet.out_conv.weight": torch.zeros(3, 9, 3, 3)}, r"output.weight is \[3, 9, 3, 3\], and would be \[3, 8"),
        ({"unet.more.weight": torch.zeros(2)}, "more.weight is .*would be none"),
        ({"unet.emb_noise.weight": torch.zeros(0, 0)}, "another network|fits no network"),
        ({"unet.emb_noise.weight": torch.zeros(3)}, "a configuration that fits no network"),
        ({"unet.enc.999999x9_block0.conv_res0.weight": torch.zeros(8, 8, 3, 3)}, "another network|fits no network"),
    ],
)
def test_weights_of_another_network_are_refused(reference, network_pickle, change, words):
    theirs = reference("edm2")
    theirs.parameters = {n: t for n, t in (theirs.parameters | change).items() if t is not None}
    with pytest.raises(ValueError, match=words):
        import_nvidia(network_pickle(theirs, "Precond"), "teacher", "imagenet64")
