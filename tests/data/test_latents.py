"""Latents of a store: what they are, how they are drawn and decoded, and what is refused."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from fewstep.autoencoders import Autoencoder, coders
from fewstep.autoencoders.autoencoder import WEIGHTS
from fewstep.data import write_store
from fewstep.data.encoding import encode_images, measure
from fewstep.data.latent_space import Latents
from fewstep.data.latent_store import DESCRIPTION, LatentStore, open_examples
from fewstep.data.space import DataSpace
from fewstep.support.errors import InvalidInput
from fewstep.training.batches import Batches
from fewstep.training.hyperparameters import TrainingSettings

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Twelve colour images in a store, eight of them for training."""
    rows = np.random.RandomState(0).randint(0, 256, (12, 3, 16, 16)).astype(np.uint8)
    rows[:, 0] //= 4
    space = DataSpace("noise", "images", (3, 16, 16), 1.0, ("a", "b"))
    return write_store(tmp_path_factory.mktemp("data") / "images", rows, np.arange(12) % 2, space, train=8)


def batch_of(store, seed=0, step=0, **settings):
    settings = TrainingSettings(batch_size=8, **settings)
    batches = Batches(store.rows("train"), store.labels("train"), store.space, settings, seed)
    return lambda rows=slice(0, 8): batches(step, rows, CPU)


@pytest.mark.parametrize("flips", [False, True])
def test_a_patch_of_one_pixel_gives_the_batches_of_pixels(images, patches_folder, tmp_path, flips):
    scale = {"shift": [0.0] * 3, "scale": [images.space.scale] * 3}
    made = encode_images(images, Autoencoder.open(patches_folder(3)), tmp_path / "l", mirrored=flips, measured=scale)
    ours, theirs = (batch_of(store, labels=True, flips=flips)() for store in (made, images))
    torch.testing.assert_close(ours.x0, theirs.x0, rtol=2**-11, atol=2**-11)
    assert torch.equal(ours.labels, theirs.labels)
    pixels = images.images("heldout")
    assert np.array_equal(made.space.decode(made.space.encode(pixels)), pixels)
    torch.testing.assert_close(made.space.encode(pixels), images.space.encode(pixels))


def test_normalised_latents_have_the_mean_and_deviation_that_models_expect(images, patches_folder, tmp_path):
    made = encode_images(images, Autoencoder.open(patches_folder(3, 2)), tmp_path / "latents")
    assert made.space.model_shape == (12, 8, 8) and made.space.shape == (3, 16, 16)
    x0 = batch_of(made)().x0
    torch.testing.assert_close(x0.mean((0, 2, 3)), torch.zeros(12), atol=1e-4, rtol=0)
    torch.testing.assert_close(x0.std((0, 2, 3), correction=0), torch.full((12,), 0.5), atol=1e-3, rtol=0)


def test_the_deviation_counts_what_is_drawn():
    rng = np.random.RandomState(0)
    mean, std = 3 + 2 * rng.randn(500, 1, 2, 4, 4), np.full((500, 1, 2, 4, 4), 1.5)
    found = measure(np.concatenate([mean, std], 2).astype(np.float16), 2)
    np.testing.assert_allclose(found["shift"], [3, 3], atol=0.1)
    np.testing.assert_allclose(found["scale"], [0.5 / 2.5] * 2, rtol=0.02)
    constant = measure(np.concatenate([mean[:, :, :1], np.ones((500, 1, 1, 4, 4))], 2).astype(np.float16), 2)
    assert (constant["shift"][1], constant["scale"][1]) == (1.0, 1.0)
    with pytest.raises(InvalidInput, match="All latents of the training images are the same"):
        measure(np.ones((4, 1, 2, 4, 4), np.float16), 2)


@pytest.fixture(scope="module")
def drawn(images, tmp_path_factory):
    """Latents with a deviation of 0.25, and those of mirrored images."""

    class Toy(coders.PatchCoder):
        def encode(self, images):
            mean, _ = super().encode(images)
            return coders.Moments(mean, torch.full_like(mean, 0.25))

    folder = tmp_path_factory.mktemp("drawn")
    (folder / "toy").mkdir()
    (folder / "toy" / "config.json").write_text('{"_class_name": "Patches"}')
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("fewstep.autoencoders.autoencoder.build_coder", lambda *_: Toy())
        return encode_images(images, Autoencoder.open(folder / "toy"), folder / "latents", mirrored=True)


def test_latents_are_drawn_anew_at_each_step_and_alike_on_every_worker(drawn):
    first, again = batch_of(drawn, flips=True)(), batch_of(drawn, flips=True)()
    assert torch.equal(first.x0, again.x0)
    halves = [batch_of(drawn, flips=True)(rows).x0 for rows in (slice(0, 4), slice(4, 8))]
    assert torch.equal(torch.cat(halves), first.x0)
    # Epochs of eight images: the images of a step are those of the one before in another order, and drawn anew.
    ours, later = (drawn.space.latents.restore(batch_of(drawn, step=step)().x0) for step in (0, 1))
    exact = torch.from_numpy(np.array(drawn.rows("train")[:, 0, :3], np.float32))
    for found in (ours, later):
        nearest = torch.cdist(found.flatten(1), exact.flatten(1)).argmin(1)
        assert sorted(nearest.tolist()) == list(range(8))
        assert (found - exact[nearest]).std() == pytest.approx(0.25, rel=0.05)


def test_a_store_is_opened_again_and_a_change_of_it_is_seen(drawn, images, tmp_path):
    assert open_examples(drawn.folder) == drawn and open_examples(images.folder) == images
    assert drawn.images_sha256 == images.sha256 and drawn.mirrored and drawn.space.pixels == images.space
    drawn.verify(in_full=True)
    rows = np.load(drawn.folder / "latents.npy")
    np.save(drawn.folder / "latents.npy", rows + 1)
    with pytest.raises(InvalidInput, match="was changed after it was written"):
        drawn.verify()
    np.save(drawn.folder / "latents.npy", rows[:, :1])
    with pytest.raises(InvalidInput, match="is damaged .arrays unlike latents.json"):
        LatentStore.open(drawn.folder)
    np.save(drawn.folder / "latents.npy", rows)
    (tmp_path / DESCRIPTION).write_text("[" * 10**5)
    with pytest.raises(InvalidInput, match="is damaged .it is nested too deeply"):
        LatentStore.open(tmp_path)
    (tmp_path / DESCRIPTION).unlink()
    with pytest.raises(InvalidInput, match=f"There is no store of latents in .*{DESCRIPTION} is missing"):
        LatentStore.open(tmp_path)


def test_another_autoencoder_in_its_place_is_seen(images, patches_folder, tmp_path):
    made = encode_images(images, Autoencoder.open(patches_folder(3)), tmp_path / "latents")
    config = made.folder / "autoencoder" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "more": 1}))
    with pytest.raises(InvalidInput, match="is not the autoencoder whose latents these are: its hash is"):
        LatentStore.open(made.folder).verify()
    config.write_text(json.dumps({"_class_name": "Patches", "in_channels": 3, "patch_size": 2}))
    with pytest.raises(InvalidInput, match=r"the latents have the shape \[3, 16, 16\], which .* does not make"):
        LatentStore.open(made.folder)


def test_encoding_goes_on_where_it_was_interrupted(images, patches_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("fewstep.data.latent_space.AT_ONCE", 3 * 16 * 16)  # three images at once
    patches, seen = Autoencoder.open(patches_folder(3)), []
    whole = encode_images(images, patches, tmp_path / "whole")

    def interrupted(done, total):
        if done >= 6:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode_images(images, patches, tmp_path / "broken", on_progress=interrupted)
    with (tmp_path / "broken" / "latents.npy").open("ab") as file:
        file.write(b"half a row")
    again = encode_images(images, patches, tmp_path / "broken", on_progress=lambda *at: seen.append(at))
    assert seen == [(9, 12), (12, 12)] and again.sha256 == whole.sha256
    encode_images(images, patches, tmp_path / "broken", mirrored=True, on_progress=lambda *at: seen.append(at))
    assert seen[2:] == [(3, 12), (6, 12), (9, 12), (12, 12)], "others are encoded from the beginning"
    with pytest.raises(InvalidInput, match="is there, and holds no latents that were begun: name another folder"):
        encode_images(images, patches, images.folder)


def test_latents_that_float16_cannot_hold_are_refused(images, patches_folder, tmp_path, monkeypatch):
    large = lambda self, images: coders.Moments(1e6 * images, None)  # noqa: E731
    monkeypatch.setattr(coders.PatchCoder, "encode", large)
    with pytest.raises(InvalidInput, match="not finite, or beyond what float16 holds"):
        encode_images(images, Autoencoder.open(patches_folder(3)), tmp_path / "latents")


@pytest.mark.slow
@torch.no_grad()
def test_an_autoencoder_of_diffusers_is_encoded_and_decoded_in_parts(vae_folder, images, tmp_path, monkeypatch):
    pytest.importorskip("diffusers", reason="of the extra 'export'")
    folder, _ = vae_folder
    weights = load_file(folder / WEIGHTS)
    weights["decoder.conv_out.weight"] *= 0.1  # random weights make images far outside [-1, 1]
    save_file(weights, folder / WEIGHTS)
    made = encode_images(images, Autoencoder.open(folder), tmp_path / "latents", mirrored=True)
    coder, pixels = Autoencoder.open(folder).load(), torch.from_numpy(np.array(images.images())) / 127.5 - 1
    for copy, given in enumerate((pixels, pixels.flip(-1))):
        expected = torch.cat(coder.encode(given), 1)
        torch.testing.assert_close(
            torch.from_numpy(made.rows()[:, copy].astype(np.float32)), expected, rtol=1e-3, atol=1e-3
        )
    monkeypatch.setattr("fewstep.data.latent_space.AT_ONCE", 5 * 16 * 16)
    x = made.space.encode(images.images())
    decoded = made.space.decode(x)
    expected = coder.decode(coder.encode(pixels).mean)
    assert decoded.dtype == np.uint8 and decoded.shape == images.images().shape
    assert np.abs(decoded - ((expected + 1) * 127.5).clamp(0, 255).numpy()).max() <= 1
    torch.testing.assert_close(made.space.decoder()(x), expected, rtol=1e-4, atol=1e-4)


def test_a_space_of_latents_says_what_it_is(drawn):
    facts = json.loads(json.dumps(drawn.space.to_dict()))
    latents = Latents(**facts.pop("latents"))
    assert DataSpace(**facts) == drawn.space.pixels and latents == drawn.space.latents
    other = replace(drawn.space, latents=replace(latents, shift=(1.0, 0.0, 0.0)))
    assert len({drawn.space.encoding, other.encoding, drawn.space.pixels.encoding}) == 3
    with pytest.raises(InvalidInput, match=r"shift and scale must be of 3 channels, got \[1, 3\]"):
        replace(latents, shift=(0.0,))
