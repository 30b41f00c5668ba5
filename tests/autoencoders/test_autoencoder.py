"""Autoencoders in folders: the numbers of diffusers' own, the sizes of latents, and what is refused."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from fewstep.autoencoders import Autoencoder
from fewstep.autoencoders.autoencoder import CONFIG, WEIGHTS
from fewstep.support.errors import InvalidInput

TINY = {"encoder_block_out_channels": [8, 8], "decoder_block_out_channels": [8, 8], "num_encoder_blocks": [1, 1]}
TINY |= {"num_decoder_blocks": [1, 1], "latent_channels": 2}
DC = {
    "latent_channels": 4,
    "attention_head_dim": 4,
    "encoder_block_types": "ResBlock",
    "decoder_block_types": "ResBlock",
}
DC |= {f"{side}_block_out_channels": [8, 8] for side in ("encoder", "decoder")}
DC |= {f"{side}_layers_per_block": [1, 1] for side in ("encoder", "decoder")}
DC |= {f"{side}_qkv_multiscales": [[], []] for side in ("encoder", "decoder")}


@pytest.fixture
def vae(vae_folder):
    """The reference's small AutoencoderKL: its folder, and its numbers."""
    pytest.importorskip("diffusers", reason="of the extra 'export'")
    return vae_folder


@pytest.fixture
def near():
    return lambda ours, theirs: (ours - theirs).abs().max() < 1e-5 * max(1.0, theirs.abs().max().item())


@pytest.mark.slow
@torch.no_grad()
def test_an_autoencoder_of_diffusers_gives_the_reference_s_numbers(vae, near):
    folder, known = vae
    found = Autoencoder.open(folder)
    assert (found.kind, found.latent_shape((3, 16, 16))) == ("AutoencoderKL", (4, 8, 8))
    coder, images = found.load(), known.inputs["x"]
    mean, std = coder.encode(images)
    assert near(mean, known.tensors["output.mean"]) and near(std, known.tensors["output.std"])
    assert near(mean + std * known.inputs["noise"], known.tensors["output.sample"])
    assert near(coder.decode(known.inputs["z"]), known.tensors["output.decoded"])
    assert near(coder.decode(mean), known.tensors["output.reconstruction"])
    assert not any(weights.requires_grad for weights in coder.parameters())


@pytest.mark.slow
def test_former_names_of_attention_are_read_too(vae):
    folder, _ = vae
    before, tensors = Autoencoder.open(folder), load_file(folder / WEIGHTS)
    for now, former in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
        tensors = {name.replace(f"attentions.0.{now}.", f"attentions.0.{former}."): t for name, t in tensors.items()}
    expected = before.load().state_dict()
    save_file(tensors, folder / WEIGHTS)
    found = Autoencoder.open(folder).load().state_dict()
    assert any(".query." in name for name in tensors)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "config"), [("AutoencoderTiny", TINY), ("AutoencoderDC", DC)])
@torch.no_grad()
def test_each_class_of_diffusers_makes_latents_of_the_size_that_is_told_before(kind, config, tmp_path):
    diffusers = pytest.importorskip("diffusers", reason="of the extra 'export'")
    torch.manual_seed(0)
    theirs = getattr(diffusers, kind)(**config).eval()
    theirs.save_pretrained(tmp_path)
    found, images = Autoencoder.open(tmp_path), torch.rand(2, 3, 8, 8) * 2 - 1
    coder = found.load()
    mean, std = coder.encode(images)
    assert std is None and mean.shape[1:] == found.latent_shape((3, 8, 8)) == (config["latent_channels"], 4, 4)
    assert torch.equal(mean, theirs.encode(images)[0])
    assert coder.decode(mean).shape == images.shape


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_patches_lose_nothing(patch_size, patches_folder):
    found, images = Autoencoder.open(patches_folder(3, patch_size)), torch.rand(2, 3, 8, 4) * 2 - 1
    latents, std = found.load().encode(images)
    assert std is None and latents.shape[1:] == found.latent_shape((3, 8, 4))
    assert torch.equal(found.load().decode(latents), images)
    assert patch_size > 1 or torch.equal(latents, images)


@pytest.mark.slow
def test_a_copy_is_the_same_autoencoder_and_has_nothing_else(vae, tmp_path):
    folder, _ = vae
    (folder / "run_me.py").write_text("raise SystemExit")
    copy = Autoencoder.open(folder).copy_to(tmp_path / "copy")
    assert sorted(file.name for file in copy.folder.iterdir()) == [CONFIG, WEIGHTS]
    assert copy.sha256 == Autoencoder.open(folder).sha256
    save_file({name: tensor + 1 for name, tensor in load_file(copy.folder / WEIGHTS).items()}, copy.folder / WEIGHTS)
    assert Autoencoder.open(copy.folder).sha256 != copy.sha256


def _described(folder, **changes):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps({**config, **changes}))


def test_folders_that_cannot_be_read_are_refused_in_words(vae_folder, tmp_path):
    folder, _ = vae_folder
    whole = tmp_path / "whole"
    shutil.copytree(folder, whole)

    def refused(words):
        with pytest.raises(InvalidInput, match=words):
            Autoencoder.open(folder)

    (folder / WEIGHTS).rename(folder / "diffusion_pytorch_model.bin")
    refused(r"has no weights: diffusion_pytorch_model.safetensors is missing. diffusion_pytorch_model.bin is a pickle")
    (folder / WEIGHTS).write_bytes(b"version https://git-lfs")
    refused("must hold weights, and it is a Git LFS pointer")
    _described(folder, block_out_channels=[])
    refused("config.json cannot be used: block_out_channels must be a list")
    _described(folder, in_channels=0)
    refused("in_channels must be at least 1, got 0")
    _described(folder, _class_name="AutoencoderKl")
    refused("There is no kind of autoencoder 'AutoencoderKl'. Did you mean 'AutoencoderKL'")
    (folder / CONFIG).write_text("[]")
    refused("it does not hold a JSON object")
    (folder / CONFIG).unlink()
    whole.rename(folder / "vae")
    refused("config.json is missing. Its autoencoder is in the folder vae")


def test_images_that_it_does_not_take_are_refused_before_its_weights_are_read(vae_folder):
    found = Autoencoder.open(vae_folder[0])
    with pytest.raises(InvalidInput, match="takes images of 3 channels, and these have 1: "):
        found.latent_shape((1, 16, 16))
    with pytest.raises(InvalidInput, match="multiples of 2 pixels, and these are 9 high and 8 wide"):
        found.latent_shape((3, 9, 8))
    with pytest.raises(InvalidInput, match="these data are points of 2 numbers"):
        found.latent_shape((2,))


@pytest.mark.slow
def test_weights_of_another_network_are_refused_in_words(vae):
    folder, _ = vae
    _described(folder, latent_channels=8)
    with pytest.raises(InvalidInput, match=r"is not of the AutoencoderKL .*: decoder.conv_in.weight must be \[32, 8,"):
        Autoencoder.open(folder).load()
    _described(folder, latent_channels=4, down_block_types=["Nonsense", "Nonsense"])
    with pytest.raises(InvalidInput, match="diffusers builds no AutoencoderKL of it"):
        Autoencoder.open(folder).load()
    _described(folder, down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"])
    tensors = load_file(folder / WEIGHTS)
    save_file(tensors | {"encoder.conv_in.bias": tensors["encoder.conv_in.bias"] * torch.nan}, folder / WEIGHTS)
    with pytest.raises(InvalidInput, match=r"network.encoder.conv_in.bias has values that are not finite"):
        Autoencoder.open(folder).load()
