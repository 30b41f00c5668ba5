"""The authors' networks are settings of ours: same parameters, same numbers."""

import json
from pathlib import Path

import pytest
import torch

from fewstep.networks import build_network
from fewstep.networks.released import from_published
from fewstep.networks.released_weights import import_weights

REFERENCE = Path(__file__).parents[1] / "reference" / "networks"
FULL_SIZE = [path for family in ("edm", "openai") for path in sorted(REFERENCE.glob(f"{family}*.keys.json"))]
EDM = {"img_resolution": 16, "in_channels": 3, "out_channels": 3, "num_blocks": 1}
OPENAI = {"image_size": 64, "num_channels": 32, "num_res_blocks": 1, "channel_mult": "1,2"}


@pytest.fixture
def small(reference):
    """A function of a family -> our network with the authors' weights, and their reference."""

    def build(family):
        found = reference(family)
        network = build_network(**from_published(found.config)).eval()
        network.load_state_dict(import_weights(found.config, found.parameters | found.buffers))
        return network, found.inputs, found.output

    return build


def assert_same(output, expected):
    assert (output - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("family", ["ddpmpp", "ncsnpp", "adm"])
@torch.no_grad()
def test_edm_output(family, small):
    network, given, expected = small(family)
    output = network(given["x"], given["noise_labels"], given.get("class_labels"), augment=given.get("augment_labels"))
    assert_same(output, expected)


@torch.no_grad()
def test_openai_output(small):
    network, given, expected = small("openai")
    labels = torch.nn.functional.one_hot(given["y"], 1000)
    assert_same(network(given["x"], given["timesteps"] / network.embed.c_noise_scale, labels), expected)


@pytest.mark.parametrize("path", FULL_SIZE, ids=lambda path: path.name.split(".")[0])
def test_full_size_parameters(path):
    facts = json.loads(path.read_text())
    with torch.device("meta"):
        ours = build_network(**from_published(facts["config"])).state_dict()
        theirs = import_weights(facts["config"], {n: torch.empty(shape) for n, shape in facts["parameters"].items()})
    assert {n: t.shape for n, t in theirs.items()} == {n: t.shape for n, t in ours.items()}


def attention_sizes(config):
    network = build_network(**from_published(config))
    return {n.split(".")[1] for n, _ in network.named_modules() if n.endswith("attention") and "middle" not in n}


def test_sizes_with_attention():
    assert attention_sizes({**OPENAI, "attention_resolutions": "32"}) == {"32x32"}
    assert attention_sizes({**OPENAI, "attention_resolutions": "40,8"}) == {"64x64"}  # factors 64 // 40 = 1 and 8
    adm = {"model_type": "DhariwalUNet", "channel_mult": [1, 2], "attn_resolutions": [16, 8], **EDM}
    assert attention_sizes({**adm, "model_channels": 64}) == {"16x16", "8x8"}
    assert attention_sizes({**adm, "model_channels": 32}) == {"8x8"}  # 32 channels: less than one head of EDM's
    assert build_network(**from_published({**adm, "model_channels": 16})).middle[0].attention is None


def test_openai_defaults():
    published = from_published({"image_size": 256, "num_channels": 64, "class_cond": True})
    assert published["num_classes"] == 1000
    assert published["shape"] == (3, 256, 256)
    assert published["spec"]["channel_mult"] == [1, 1, 2, 2, 4, 4]
    assert published["spec"]["attn_resolutions"] == [32, 16, 8]
    assert json.loads(json.dumps(published["spec"])) == published["spec"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"model_type": "SongUnet", **EDM}, "SongUNet"),
        ({"model_type": "SongUNet", **EDM, "chanel_mult": [1]}, "channel_mult"),
        ({"model_type": "SongUNet", "img_resolution": 16}, "in_channels"),
        ({"model_type": "SongUNet", **EDM, "out_channels": 6}, "out_channels must be equal to in_channels .*, got 6"),
        ({"img_resolution": 16}, "SongUNet"),
        ({"image_size": 96}, "image_size"),
        ({"img_resolution": 16, "img_channels": 3, "concat_balance": 0.3}, "concat_balance must be 0.5, .*got 0.3"),
        ({"img_resolution": 16, "img_channels": 3, "in_channels": 3}, "in_channels"),
        ({**OPENAI, "learn_sigma": True}, "learn_sigma"),
    ],
)
def test_bad_configurations(config, message):
    with pytest.raises(ValueError, match=message):
        from_published(config)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("encoder.8x8.side.conv.weight", {"encoder_type": "skip"}),
        ("encoder.8x8.side.conv.weight", {"encoder_type": "residual"}),
        ("decoder.8x8.output.conv.weight", {"decoder_type": "skip"}),
    ],
)
def test_parameters_of_other_song_unets(ours, theirs):
    config = {"model_type": "SongUNet", "model_channels": 16, "channel_mult": [1, 2], **EDM, **theirs}
    assert ours in build_network(**from_published(config)).state_dict()


def test_resampling_convolutions():
    config = {**OPENAI, "resblock_updown": False, "use_scale_shift_norm": False, "num_heads_upsample": 2}
    network = build_network(**from_published(config))
    x = torch.randn(1, 3, 64, 64)
    assert network(x, torch.zeros(1)).shape == x.shape
    assert "decoder.64x64.up.conv.weight" in network.state_dict()


@pytest.mark.parametrize("name", ["input_blocks.1.0.emb_layers_s.1.weight", "ema.weight"])
def test_parameters_of_another_network(name):
    with pytest.raises(ValueError, match=name):
        import_weights(OPENAI, {name: torch.zeros(1)})
