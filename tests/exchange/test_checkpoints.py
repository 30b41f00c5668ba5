"""Files of OpenAI and NVIDIA become models of ours that give what their authors' networks give."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import one_hot

from fewstep.exchange import import_nvidia, import_openai
from fewstep.models.model import Model
from fewstep.networks import build_network, settings_of
from fewstep.networks.released import from_published
from fewstep.networks.released_weights import import_weights


@torch.no_grad()
def raw(model, c_noise, x, labels=None):
    """The bare network's output, through the whole function at the level whose c_noise this is."""
    sigma = (4 * c_noise.double()).exp()
    total = (sigma**2 + 0.25).sqrt().reshape(-1, 1, 1, 1)
    above = (sigma - model.function.boundary).reshape(-1, 1, 1, 1)
    estimate = copy.deepcopy(model.function).double()(x.double() * total, sigma, labels)
    return ((estimate - 0.25 / (above**2 + 0.25) * x * total) * total / (0.5 * above)).float()


def assert_same(output, expected):
    assert (output - expected).abs().max() < 1e-4 * expected.abs().max()


@pytest.mark.parametrize("teacher", [True, False])
def test_openai(reference, tmp_path, teacher):
    theirs = reference("openai")
    torch.save({**theirs.parameters, **theirs.buffers}, tmp_path / "ema.pt")
    model = import_openai(tmp_path / "ema.pt", "teacher", "imagenet64", teacher=teacher, config=theirs.config)
    model = model.save(tmp_path / "model").load("cpu")
    c_noise = theirs.inputs["timesteps"] / 1000
    assert_same(raw(model, c_noise, theirs.inputs["x"], one_hot(theirs.inputs["y"], 1000)), theirs.output)
    assert (model.samplers[0], model.function.boundary) == (("heun", 0.0) if teacher else ("multistep", 0.002))
    assert (model.space.shape, model.spec.labels, len(model.space.classes)) == ((3, 64, 64), True, 1000)
    assert model.spec.network["c_noise_scale"] == 1000.0


@pytest.mark.parametrize("family", ["ddpmpp", "ncsnpp", "adm"])
def test_nvidia(reference, network_pickle, tmp_path, family):
    theirs = reference(family)
    model = import_nvidia(network_pickle(theirs), "teacher", "cifar10").save(tmp_path / "model").load("cpu")
    labels = theirs.inputs.get("class_labels")
    expected = theirs.output
    if "augment_labels" in theirs.inputs:  # which test_published of the networks gives; a denoiser is given none
        network = build_network(**from_published(theirs.config)).eval()
        network.load_state_dict(import_weights(theirs.config, {**theirs.parameters, **theirs.buffers}))
        with torch.no_grad():
            expected = network(theirs.inputs["x"], theirs.inputs["noise_labels"], labels)
    assert_same(raw(model, theirs.inputs["noise_labels"], theirs.inputs["x"], labels), expected)
    assert not any("augment" in name for name in model.function.state_dict()), "a student would have idle weights"
    assert model.samplers[0] == "heun"
    samples = model.sample(nfe=3, seed=0, indices=range(2))
    assert samples.shape == (2, 3, 16, 16)
    assert np.array_equal(samples, Model.load(tmp_path / "model").sample(nfe=3, seed=0, indices=range(2)))


def test_guidance_is_for_imported_models_whose_file_says_that_labels_were_hidden(reference, network_pickle):
    theirs = reference("adm")
    silent = import_nvidia(network_pickle(theirs), "teacher", "cifar10")
    with pytest.raises(ValueError, match="^guidance must be 1, got 2: .* was not trained with hidden labels"):
        silent.sample(nfe=3, seed=0, indices=range(1), guidance=2.0)
    theirs.config["label_dropout"] = 0.1
    import_nvidia(network_pickle(theirs), "teacher", "cifar10").sample(nfe=3, seed=0, indices=range(1), guidance=2.0)


def test_a_consistency_model_of_nvidias_format_keeps_its_boundary(reference, network_pickle, tmp_path):
    path = network_pickle(reference("adm"), "ECMPrecond", sigma_min=0.003)
    with pytest.raises(ValueError, match="--as student"):
        import_nvidia(path, "teacher", "cifar10")
    model = import_nvidia(path, "ect", "cifar10", teacher=False).save(tmp_path / "model").load("cpu")
    assert (model.samplers, model.function.boundary) == (("multistep",), 0.003)
    theirs = reference("adm")
    assert_same(
        raw(model, theirs.inputs["noise_labels"], theirs.inputs["x"], theirs.inputs["class_labels"]), theirs.output
    )
    early = import_nvidia(network_pickle(theirs), "ect", "cifar10", teacher=False)
    assert (early.samplers[0], early.function.boundary) == ("multistep", 0.0)


def test_a_student_keeps_the_levels_that_it_is_given(reference, network_pickle, tmp_path):
    path = network_pickle(reference("adm"), "ECMPrecond", sigma_min=0.003)
    model = import_nvidia(path, "ect", "cifar10", teacher=False, levels={2: [0.821], 1: []})
    model = model.save(tmp_path / "model").load("cpu")
    assert model.levels(2).tolist() == [80.0, 0.821]
    theirs = reference("openai")
    torch.save({**theirs.parameters, **theirs.buffers}, tmp_path / "ct.pt")
    given = {"teacher": False, "config": theirs.config}
    model = import_openai(tmp_path / "ct.pt", "ct", "imagenet64", levels={2: [1.9128]}, **given)
    assert model.levels(2).tolist() == [80.0, 1.9128]
    for levels, words in [
        ({3: [1.0]}, "levels of 3 NFE must be 2 after 80"),
        ({2: [0.001]}, "levels must be decreasing and above"),
    ]:
        with pytest.raises(ValueError, match=words):
            import_nvidia(path, "ect", "cifar10", teacher=False, levels=levels)
    with pytest.raises(ValueError, match="levels must be empty for a teacher"):
        import_openai(tmp_path / "ct.pt", "x", "imagenet64", config=theirs.config, levels={2: [1.0]})


def full_size(name):
    path = Path(__file__).parents[1] / "reference" / "networks" / f"openai_{name}.keys.json"
    return json.loads(path.read_text())


@pytest.mark.parametrize("name", ["imagenet64", "lsun256"])
def test_the_released_networks_are_known_by_their_shapes(name):
    from fewstep.exchange.checkpoints import _fitting

    facts = full_size(name)
    if name == "lsun256":  # the file is of a network with scale and shift; the released ones have a shift alone
        facts["config"]["use_scale_shift_norm"] = False
        for parameter, shape in facts["parameters"].items():
            if ".emb_layers." in parameter:
                shape[0] //= 2
    weights = {n: torch.empty(shape, device="meta") for n, shape in facts["parameters"].items()}
    assert _fitting(weights, "x.pt") == facts["config"]
    with pytest.raises(ValueError, match="its weights have other names .'weight' is not a parameter of OpenAI's UNet"):
        _fitting({"weight": torch.zeros(3)}, "x.pt")
    with pytest.raises(ValueError, match=r"not one of the released networks \(imagenet64: .*missing.*--config FILE"):
        _fitting(dict(list(weights.items())[:-1]), "x.pt")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"kind": "VPPrecond"}, "'VPPrecond'.*Allowed: ECMPrecond, EDMPrecond"),
        ({"sigma_data": 1.0}, "must have sigma_data 0.5, got 1.0"),
        ({"sigma_data": [[1.0]]}, "must have sigma_data 0.5, got list"),
        ({"kind": "ECMPrecond"}, "does not give its sigma_min"),
    ],
)
def test_other_preconditionings_are_refused(reference, network_pickle, change, words):
    path = network_pickle(reference("adm"), **change)
    with pytest.raises(ValueError, match=words):
        import_nvidia(path, "student", "cifar10", teacher=False)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"num_blocks": 10**9}, "more blocks than weights"),
        ({"num_blocks": 0, "channel_mult": [1] * 10**5}, "more blocks than weights"),
        ({"resample_filter": [1] * 10**5}, "more blocks than weights"),
        ({"label_dim": 10**9}, "more classes than weights"),
        ({"num_blocks": 10**12}, "by numbers and words, and num_blocks is neither"),
        ({"dropout": [[0.1]]}, "by numbers and words, and dropout is neither"),
    ],
)
def test_a_configuration_that_is_larger_than_its_file_is_refused(reference, network_pickle, change, words):
    theirs = reference("ddpmpp")
    theirs.config |= change
    with pytest.raises(ValueError, match=words):
        import_nvidia(network_pickle(theirs), "teacher", "cifar10")


def test_weights_of_another_network_are_refused(reference, tmp_path):
    theirs = reference("openai")
    torch.save(dict(list(theirs.parameters.items())[1:]), tmp_path / "ema.pt")
    with pytest.raises(
        ValueError, match=r"another network than its configuration says: embed.hidden.weight is missing"
    ):
        import_openai(tmp_path / "ema.pt", "teacher", "x", config=theirs.config)
    with pytest.raises(ValueError, match=r"a configuration that fits no network"):
        import_openai(tmp_path / "ema.pt", "teacher", "x", config={**theirs.config, "num_channels": "many"})
    torch.save([1, 2], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="not a state dictionary"):
        import_openai(tmp_path / "list.pt", "teacher", "x")


def test_settings_are_those_left_to_their_defaults_too(reference):
    from fewstep.networks import build_network
    from fewstep.networks.released import from_published

    published = from_published(reference("openai").config)
    full = settings_of(published["spec"])
    assert full["norm_eps"] and full["middle_attention"] is True and full["c_noise_scale"] == 1000.0
    with torch.device("meta"):
        mine, theirs = (build_network(s, published["shape"], 3).state_dict() for s in (full, published["spec"]))
    assert {n: t.shape for n, t in mine.items()} == {n: t.shape for n, t in theirs.items()}
