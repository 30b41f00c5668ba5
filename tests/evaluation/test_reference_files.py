import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewstep.data.space import DataSpace
from fewstep.evaluation.features import Features
from fewstep.evaluation.reference_files import read_reference, read_references, write_statistics

ABOUT = {"dataset": "digits", "shape": [1, 8, 8], "extractor": "digits", "extractor_sha256": "d" * 64, "count": 20}
GRAY = np.random.default_rng(0).integers(0, 256, (20, 8, 8, 1)).astype(np.uint8)


@pytest.fixture
def ours(tmp_path):
    features = Features(torch.randn(20, 4, generator=torch.Generator().manual_seed(0)))
    write_statistics(tmp_path / "ours.npz", features, ABOUT)
    return tmp_path / "ours.npz"


def test_statistics_are_written_as_edm_reads_them(ours):
    with np.load(ours, allow_pickle=False) as archive:
        mu, sigma = archive["mu"], archive["sigma"]
    assert (mu.shape, sigma.shape, mu.dtype, sigma.dtype) == ((4,), (4, 4), np.float64, np.float64)
    features = torch.randn(20, 4, generator=torch.Generator().manual_seed(0)).double().numpy()
    assert np.allclose(mu, features.mean(0)) and np.allclose(sigma, np.cov(features.T))
    found = read_reference(ours)
    assert (found.evaluator, found.about) == ("edm", ABOUT)


def test_code_in_a_pickle_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save({"mu": Code(), "sigma": Code()}, tmp_path / "code.pt")
    np.savez(tmp_path / "code.npz", mu=np.array([Code()], dtype=object), sigma=np.zeros((1, 1)))
    for name in ("code.pt", "code.npz"):
        with pytest.raises(ValueError, match="is damaged, or holds what only unpickling would read"):
            read_reference(tmp_path / name)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"feats": np.zeros((3, 3))}, r"must hold mu and sigma .*, and it holds feats"),
        ({"mu": np.zeros(3)}, r"must hold mu and sigma .*, and it holds mu"),
        ({"mu": np.zeros(3), "sigma": np.eye(4)}, r"must be \[D\] and \[D, D\], got \[3\] and \[4, 4\]"),
        ({"mu": np.zeros(2), "sigma": np.full((2, 2), np.nan)}, "sigma of .* must be finite and symmetric"),
        ({"mu": np.zeros(2), "sigma": np.array([[1, 2], [0, 1]])}, "sigma of .* must be finite and symmetric"),
        ({"arr_0": GRAY.astype(float)}, r"arr_0 of .* must be uint8 \[N, H, W, 3\], got float64 \[20, 8, 8, 1\]"),
        ({"arr_0": GRAY[..., 0]}, r"must be uint8 \[N, H, W, 3\], got uint8 \[20, 8, 8\]"),
        ({"mu": np.zeros(2), "sigma": np.eye(2), "fewstep": np.array("{}")}, "does not say what its statistics are of"),
    ],
)
def test_what_a_file_must_hold(arrays, words, tmp_path):
    np.savez(tmp_path / "given.npz", **arrays)
    with pytest.raises(ValueError, match=words):
        read_reference(tmp_path / "given.npz")


def test_other_files_are_named(tmp_path, ours):
    for name, content, words in (
        ("edm2.pkl", pickle.dumps({}), r"must be .npz files, or .pt of torch-fidelity's cache, got .*edm2.pkl"),
        ("page.npz", b"<!DOCTYPE html>", "page.npz must hold statistics, and it is a web page"),
        ("cut.npz", ours.read_bytes()[:200], "cut.npz is damaged"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match=words):
            read_reference(tmp_path / name)
    with pytest.raises(ValueError, match="there is no .*absent.npz"):
        read_reference(tmp_path / "absent.npz")
    with pytest.raises(ValueError, match="is damaged|only unpickling"):
        read_reference((tmp_path / "cut.npz").rename(tmp_path / "cut.pt"))
    np.savez(tmp_path / "cifar10_legacy_pytorch_train_32.npz", mu=np.zeros(2), sigma=np.eye(2))
    with pytest.raises(ValueError, match="images resized as no evaluator here does it"):
        read_reference(tmp_path / "cifar10_legacy_pytorch_train_32.npz")
    with pytest.raises(ValueError, match=r"ours.npz and .*ours.npz, which are both for fid_edm"):
        read_references([str(ours)] * 2)


def test_other_sizes_data_and_features_are_refused(ours, extractor, tmp_path):
    space, found = DataSpace("digits", "images", (1, 8, 8), 0.5), read_reference(ours)
    right = replace(extractor, sha256="d" * 64)
    found.check(right, space)
    with pytest.raises(ValueError, match=r"ours.npz is of images of \(1, 8, 8\), and digits are \(1, 16, 16\)"):
        found.check(right, replace(space, shape=(1, 16, 16)))
    with pytest.raises(ValueError, match="ours.npz is of the data set digits, not of letters"):
        found.check(right, replace(space, name="letters"))
    with pytest.raises(ValueError, match=r"statistics of the features digits \(dddddddd\), and these are digits"):
        found.check(extractor, space)
    with pytest.raises(ValueError, match="is for images, and moons has points: leave it out"):
        found.check_space(DataSpace("moons", "points", (2,), 1.0))
    np.savez(tmp_path / "edm.npz", mu=np.zeros(2048), sigma=np.eye(2048, dtype=np.float32))
    with pytest.raises(ValueError, match=r"inception features, and evaluation.features is digits: set evaluation"):
        read_reference(tmp_path / "edm.npz").check(right, space)


def test_gray_batches_have_one_or_three_equal_channels(tmp_path):
    space = DataSpace("digits", "images", (1, 8, 8), 0.5)
    colours = GRAY.repeat(3, axis=3)
    np.savez(tmp_path / "three.npz", colours)
    found = read_reference(tmp_path / "three.npz")
    found.check_space(space)
    assert np.array_equal(found.images(1), GRAY.transpose(0, 3, 1, 2))
    colours[3, 2, 1, 0] ^= 1
    np.savez(tmp_path / "three.npz", colours)
    with pytest.raises(ValueError, match="has images in colour, and the data are gray"):
        read_reference(tmp_path / "three.npz").images(1)
    with pytest.raises(ValueError, match=r"is of images of \(1, 8, 8\), and wide are \(1, 8, 9\)"):
        found.check_space(DataSpace("wide", "images", (1, 8, 9), 0.5))


def test_what_statistics_say_is_plain_json(ours):
    with np.load(ours, allow_pickle=False) as archive:
        assert json.loads(str(archive["fewstep"])) == ABOUT
