import json
import pickle
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fewstep.commands.evaluation import _array
from fewstep.data.space import DataSpace
from fewstep.evaluation.features import Features
from fewstep.evaluation.reference_files import read_reference, read_references, write_statistics
from fewstep.support.errors import InvalidInput

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


def test_every_damage_of_an_array_is_said(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (2,"  # which ends within a bracket: no Python
    huge = b"{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999999,), }"
    for name, text in (("half", header), ("huge", huge), ("beyond", huge.replace(b"9999", b"9" * 30))):
        array = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
        with zipfile.ZipFile(tmp_path / f"{name}.npz", "w") as archive:
            archive.writestr("mu.npy", array)
            archive.writestr("sigma.npy", array)
        with pytest.raises(InvalidInput, match="is damaged, or holds what only unpickling would read"):
            read_reference(tmp_path / f"{name}.npz")
        (tmp_path / f"{name}.npy").write_bytes(array)
        with pytest.raises(InvalidInput, match="must hold an array of numbers"):
            _array(tmp_path / f"{name}.npy")


def test_packed_data_that_are_damaged_are_said(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", mu=np.arange(4000.0), sigma=np.eye(3))
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[60:90] = b"\xff" * 30
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(InvalidInput, match="is damaged, or holds what only unpickling would read"):
        read_reference(tmp_path / "a.npz")
