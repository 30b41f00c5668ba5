"""What is exported gives the images of the model, from the same noise."""

from importlib.util import find_spec

import pytest
import torch

from fewstep.data.space import DataSpace
from fewstep.diffusion.randomness import SampleRandomness
from fewstep.exchange import export_model
from fewstep.exchange.export import OPSETS, Program
from fewstep.models.model import Model
from fewstep.networks.execution import Execution

MODERN = {"rms_norm": True, "qk_norm": True, "rope": True, "swiglu": True}
NETWORKS = {
    "unet": {"name": "unet", "channels": 16, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]},
    "plain": {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1},  # traced in half the time
    "dit": {"name": "dit", "channels": 16, "num_blocks": 2, "num_heads": 2},
    "modern dit": {"name": "dit", "channels": 16, "num_blocks": 1, "num_heads": 2, **MODERN},
}


@pytest.fixture
def model(draw_model):
    """A small model with weights of a seed: a function of (preconditioning, labels, scale, network)."""

    def build(name="consistency", labels=False, scale=0.8, kind="unet"):
        space = DataSpace("digits", "images", (1, 8, 8), scale, tuple("0123456789"))
        network = NETWORKS[kind] | {"second_time": name == "trajectory"}
        spec = {"name": "cd", "network": network, "preconditioning": {"name": name}, "labels": labels}
        return draw_model(spec | {"levels": {"2": [3.0]}, "data_sha256": "d" * 64}, space)

    return build


def inputs(model, program, count):
    """The noise and the labels that `sample` draws of seed 5."""
    rng = SampleRandomness(5, range(count))
    first = rng.normal(model.space.shape)
    labels = [torch.eye(10)[rng.integers(10)]] if model.spec.labels else []
    noise = torch.stack([first, *(rng.normal(model.space.shape) for _ in range(program.draws - 1))])
    return noise, *labels


def assert_pictures(model, images, nfe, count):
    expected = torch.from_numpy(model.sample(nfe=nfe, seed=5, indices=range(count)).copy())
    pictures = ((images + 1) * 127.5).round().clamp(0, 255)
    assert (pictures - expected).abs().max() <= 1  # grey level
    assert (pictures == expected).float().mean() > 0.99


CASES = [("consistency", "unet", True, 2), ("trajectory", "plain", True, 2)]
MORE = [("consistency", "unet", False, 1), ("consistency", "unet", False, 3), ("edm", "unet", True, 3)]
CASES += [pytest.param(*case, marks=pytest.mark.check) for case in MORE]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "labels", "nfe"), CASES)
@torch.no_grad()
def test_pt2(model, tmp_path, name, kind, labels, nfe):
    given = model(name, labels, kind=kind)
    path, program = export_model(given, tmp_path / "x.pt2", "pt2", nfe), Program(given, nfe)
    facts = {"model.json": ""}
    loaded = torch.export.load(path, extra_files=facts).module()
    assert given.sha256 in facts["model.json"]
    for count in (2, 5):
        noise = inputs(given, program, count)
        images = loaded(*noise)
        assert (images - program(*noise)).abs().max() < 1e-4
        assert_pictures(given, images, nfe, count)


@pytest.mark.slow
@torch.no_grad()
def test_what_is_exported_is_in_float32_however_passes_run_here(model, tmp_path):
    trained = model(kind="plain").run_by(Execution("bf16"))
    program = torch.export.load(export_model(trained, tmp_path / "cd.pt2", "pt2")).module()
    assert_pictures(model(kind="plain"), program(*inputs(trained, Program(trained, 1), 3)), 1, 3)


def test_a_folder_is_a_finished_model(model, tmp_path):
    given = model()
    loaded = Model.load(export_model(given, tmp_path / "out", "folder"))
    assert loaded.sha256 == given.sha256
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["model.json", "model.safetensors"]
    assert len({file.stat().st_mode for file in (tmp_path / "out").iterdir()}) == 1  # who reads one reads both


def test_onnx_without_its_packages_names_the_extra(model, tmp_path):
    if find_spec("onnx") and find_spec("onnxscript"):
        pytest.skip("they are here")
    with pytest.raises(ValueError, match=r"ONNX needs the packages onnx and onnxscript"):
        export_model(model(), tmp_path / "x.onnx", "onnx")
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("name", "kind", "labels", "nfe"), CASES)
def test_onnx(model, tmp_path, name, kind, labels, nfe):
    pytest.importorskip("onnxscript", reason="of the extra 'export': it writes ONNX")
    runtime = pytest.importorskip("onnxruntime", reason="of the extra 'export': it runs ONNX")
    given = model(name, labels, kind=kind)
    session = runtime.InferenceSession(export_model(given, tmp_path / "x.onnx", "onnx", nfe))
    assert [file.name for file in tmp_path.glob("x.onnx*")] == ["x.onnx"]
    assert [output.name for output in session.get_outputs()] == ["samples"]
    noise = inputs(given, Program(given, nfe), 5)
    (images,) = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), noise, strict=True)})
    expected = Program(given, nfe)(*noise)  # of weights drawn at random it can be large
    assert (torch.from_numpy(images) - expected).abs().max() < 1e-4 * max(1, expected.abs().max())


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dit", "modern dit"])
@torch.no_grad()
def test_programs_of_a_transformer(model, tmp_path, kind):
    given = model("consistency", True, kind=kind)
    noise = inputs(given, program := Program(given, 1), 3)
    expected = program(*noise)
    loaded = torch.export.load(export_model(given, tmp_path / "x.pt2", "pt2", 1)).module()
    assert (loaded(*noise) - expected).abs().max() < 1e-4 * max(1, expected.abs().max())
    if find_spec("onnxscript") and find_spec("onnxruntime"):
        from onnxruntime import InferenceSession

        session = InferenceSession(export_model(given, tmp_path / "x.onnx", "onnx", 1))
        (images,) = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), noise, strict=True)})
        assert (torch.from_numpy(images) - expected).abs().max() < 1e-4 * max(1, expected.abs().max())
    with pytest.raises(ValueError, match="its network is 'dit', and theirs like 'unet'"):
        export_model(given, tmp_path / "folder", "diffusers")


@pytest.mark.parametrize(
    ("kind", "opset", "words"),
    [
        ("onnx", 99, "opset must be between 18 and 23, got 99"),
        ("onnx", 17, "opset must be between 18 and 23, got 17"),
        ("pt2", 20, "--opset is for --format onnx, and the format is pt2"),
    ],
)
def test_an_opset_that_is_not_there_is_refused(model, tmp_path, kind, opset, words):
    with pytest.raises(ValueError, match=words):
        export_model(model(), tmp_path / "x.onnx", kind, opset=opset)
    assert not (tmp_path / "x.onnx").exists()


@pytest.mark.check
@pytest.mark.parametrize("opset", OPSETS)
def test_onnx_of_each_opset(model, tmp_path, opset):
    onnx = pytest.importorskip("onnx", reason="of the extra 'export': it writes ONNX")
    runtime = pytest.importorskip("onnxruntime", reason="of the extra 'export': it runs ONNX")
    given = model("consistency", True)
    path = export_model(given, tmp_path / "x.onnx", "onnx", opset=opset)
    assert {each.domain: each.version for each in onnx.load(path).opset_import}[""] == opset
    session = runtime.InferenceSession(path)
    noise = inputs(given, Program(given, 1), 3)
    (images,) = session.run(None, {i.name: t.numpy() for i, t in zip(session.get_inputs(), noise, strict=True)})
    assert (torch.from_numpy(images) - Program(given, 1)(*noise)).abs().max() < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["folder", "pt2", "onnx"])
def test_a_failure_in_the_middle_leaves_what_was_there(model, whole_or_not_at_all, kind):
    if kind == "onnx":
        pytest.importorskip("onnxscript", reason="of the extra 'export': it writes ONNX")
    whole_or_not_at_all(model(kind="plain"), kind)


def test_other_formats_are_named(model, tmp_path):
    with pytest.raises(ValueError, match=r"no format 'pt'. Did you mean 'pt2'"):
        export_model(model(), tmp_path / "x", "pt")
