import re
import urllib.error
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.utils.data import Dataset

from fewstep.evaluation.features import open_extractor
from fewstep.evaluation.features.extractor import file_sha256
from fewstep.evaluation.features.fidelity import import_fidelity
from fewstep.evaluation.features.inception import with_clean_resizing
from fewstep.evaluation.features.pretrained import PRETRAINED
from fewstep.evaluation.ladder import evaluate_given
from fewstep.evaluation.results import ExtractorId

pytestmark = pytest.mark.filterwarnings("ignore:.*deprecated", "ignore::torch.jit.TracerWarning")

CLIP, DINOV2 = "clip-vit-b-32", "dinov2-vit-s-14"
GRAY = np.random.default_rng(0).integers(0, 256, (40, 1, 8, 8)).astype(np.uint8)
FILE = {"inception": "weights-inception-2015-12-05-6726825d.pth", CLIP: "ViT-B-32.pt"}
HUBCONF = """
import torch
dependencies = ["torch"]
def dinov2_vits14():
    network = torch.nn.Sequential(torch.nn.AvgPool2d(56), torch.nn.Flatten(), torch.nn.Linear(48, 4))
    url = "https://dl.fbaipublicfiles.com/dinov2/dinov2_vits14/dinov2_vits14_pretrain.pth"
    network.load_state_dict(torch.hub.load_state_dict_from_url(url, map_location="cpu"))
    return network
"""


@pytest.fixture(autouse=True)
def hub(tmp_path, monkeypatch):
    """An empty folder of torch.hub's, and no network."""

    def no_network(*_, **__):
        raise urllib.error.URLError("no network")

    monkeypatch.setattr(torch.hub, "urlopen", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "torch" / "hub"


class Coloured(Dataset):
    """Gray images in three channels, for torch-fidelity."""

    def __init__(self, images):
        self.images = torch.from_numpy(np.array(images).repeat(3, axis=1))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


class Clip(nn.Module):
    """The keys of CLIP's file, at small widths."""

    def __init__(self):
        import_fidelity()
        from torch_fidelity.feature_extractor_clip import VisionTransformer

        super().__init__()
        self.visual = VisionTransformer(16, 8, 64, 2, 1, output_dim=5)
        self.text_projection = nn.Parameter(torch.zeros(3, 5))
        self.logit_scale = nn.Parameter(torch.ones([]))
        self.transformer, self.ln_final = nn.Linear(2, 2), nn.LayerNorm(2)
        self.register_buffer("input_resolution", torch.tensor(16))

    def forward(self, x):
        return self.visual(x)


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """A function that keeps a module as the file that CLIP's name stands for."""
    import_fidelity()
    from torch_fidelity.feature_extractor_clip import MODEL_METADATA

    def keep(module: nn.Module | bytes) -> Path:
        file = tmp_path / "clip.pt"
        if isinstance(module, bytes):
            file.write_bytes(module)
        else:
            torch.jit.trace(module, torch.zeros(1, 3, 16, 16)).save(file)
        monkeypatch.setitem(MODEL_METADATA[CLIP], "hash", file_sha256(file))
        return file

    return keep


def places(name: str) -> list[Path]:
    """Where the error says that what is missing has to be put."""
    with pytest.raises(ValueError) as error:
        open_extractor(name)
    return [Path(place) for place in re.findall(r"put it at ([^,;]+?)[,;.] ", f"{error.value} ")]


def test_all_clips_and_dinov2s_of_torch_fidelity_are_offered():
    import_fidelity()
    from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

    theirs = {name for name in FEATURE_EXTRACTORS_REGISTRY if name.startswith(("clip-", "dinov2-"))}
    assert set(PRETRAINED) == {"inception", "inception-clean", *theirs}
    for name, network in PRETRAINED.items():
        layer_of = FEATURE_EXTRACTORS_REGISTRY[network.entry].get_default_feature_layer_for_metric
        assert network.layers == tuple(dict.fromkeys((layer_of("fid"), layer_of("isc"))))
        assert re.fullmatch(r"[\w-]+", name)  # a score's name, in MLflow, DVC and files


@pytest.mark.parametrize("name", FILE)
def test_without_its_file_it_says_where_to_put_it(name, tmp_path):
    needed = f"features need the file {FILE[name]}, from https://.*features_weights"
    with pytest.raises(ValueError, match=f"weights cannot be downloaded .*no network.*{needed}"):
        open_extractor(name)
    with pytest.raises(ValueError, match=rf"^\w+ {needed}"):
        open_extractor(name, tmp_path / "absent")


def test_code_in_inception_weights_is_not_run(tmp_path):
    class Code:
        def __reduce__(self):
            return Path.touch, (tmp_path / "ran",)

    torch.save(Code(), tmp_path / "code.pth")
    with pytest.raises(ValueError, match="does not hold Inception weights"):
        open_extractor("inception", tmp_path / "code.pth")
    assert not (tmp_path / "ran").exists()


@pytest.mark.slow
def test_inception_of_gray_images(tmp_path, monkeypatch):
    import_fidelity()
    from torch_fidelity import feature_extractor_inceptionv3 as module

    with monkeypatch.context() as patched:
        patched.setattr(module, "load_state_dict_from_url", lambda *_, **__: {})
        patched.setattr(module.FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        random = module.FeatureExtractorInceptionV3("inception-v3-compat", ["2048", "logits_unbiased"])
    torch.save(random.state_dict(), tmp_path / "inception.pth")
    found = open_extractor("inception", tmp_path / "inception.pth")(GRAY[:2], spatial=True)
    before: list[torch.Tensor] = []
    random.Mixed_6d.register_forward_pre_hook(lambda _, given: before.append(given[0]))
    features, logits = random(torch.from_numpy(GRAY[:2].repeat(3, axis=1)))
    assert torch.equal(found.features, features)
    assert torch.equal(found.logits, logits)
    spatial = random.Mixed_6d.branch1x1(before[0])[:, :7]  # 7 channels at 17 x 17 places
    assert spatial.shape == (2, 7, 17, 17) and torch.equal(found.spatial, spatial.flatten(1))
    # clean-fid's resizing: of an image that is large already nothing changes, and a small one becomes that large one
    large = torch.from_numpy(
        np.asarray(Image.fromarray(GRAY[0, 0]).resize((299, 299), Image.Resampling.BICUBIC)).copy()
    )
    large, small = large.expand(1, 3, -1, -1), torch.from_numpy(GRAY[:1].repeat(3, axis=1))
    before.clear()
    expected, usual = random(large)[0], random(small)[0]
    clean = with_clean_resizing(random)
    assert torch.equal(clean(large)[0], expected)
    assert (clean(small)[0] - expected).norm() < 0.2 * (usual - expected).norm()  # large was rounded


def test_scores_by_clip_are_torch_fidelitys(publish, digits):
    file, known = publish(Clip()), digits.images("train")
    scores = evaluate_given(GRAY, "given", digits, open_extractor(CLIP, file), count=len(GRAY), seeds=[0])
    assert scores.measurement.extractor == ExtractorId(CLIP, file_sha256(file))
    theirs = import_fidelity().calculate_metrics(
        input1=Coloured(GRAY), input2=Coloured(known), feature_extractor=CLIP, feature_extractor_weights_path=str(file),
        fid=True, kid=True, prc=True, kid_subset_size=len(GRAY), rng_seed=0, cuda=False, save_cpu_ram=True, cache=False,
        verbose=False,
    )  # fmt: skip
    names = {
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "precision": "precision",
        "recall": "recall",
    }
    assert theirs["frechet_inception_distance"] > 0
    assert {name: scores.rows[0].scores[f"{name}_{CLIP}"].mean for name in names} == {
        ours: pytest.approx(theirs[name], rel=1e-4, abs=1e-6) for ours, name in names.items()
    }


def test_transparent_images_are_seen_on_white(publish):
    extractor = open_extractor(CLIP, publish(Clip()))
    rgba = np.random.default_rng(1).integers(0, 256, (3, 4, 8, 8)).astype(np.uint8)
    clear = rgba.copy()
    clear[:, 3] = 0
    white = np.full((3, 3, 8, 8), 255, np.uint8)
    assert torch.equal(extractor(clear).features, extractor(white).features)
    rgba[:, 3] = 255
    assert torch.equal(extractor(rgba).features, extractor(rgba[:, :3]).features)


def test_a_web_page_in_place_of_weights_is_named(tmp_path):
    (tmp_path / "weights.pth").write_text("<!DOCTYPE html>")
    with pytest.raises(ValueError, match=r"weights\.pth must hold Inception weights, and it is a web page"):
        open_extractor("inception", tmp_path / "weights.pth")


def test_clip_is_found_where_the_error_said(publish):
    file = publish(Clip())
    [place] = places(CLIP)
    place.parent.mkdir(parents=True, exist_ok=True)
    file.rename(place)
    assert open_extractor(CLIP).sha256 == file_sha256(place)


def test_another_file_is_not_called_clip(publish, tmp_path):
    publish(Clip())
    torch.jit.trace(Clip(), torch.zeros(1, 3, 16, 16)).save(tmp_path / "other.pt")
    with pytest.raises(ValueError, match="other.pt does not hold CLIP weights.*the sha256 of clip-vit-b-32 must be"):
        open_extractor(CLIP, tmp_path / "other.pt")


@pytest.mark.parametrize("content", [b"", b"no archive", nn.Conv2d(3, 1, 1)])
def test_a_file_without_clip_is_named(publish, content):
    with pytest.raises(ValueError, match="clip.pt (does not|must) hold CLIP weights"):
        open_extractor(CLIP, publish(content))


def test_dinov2_by_the_code_and_weights_in_the_folder_of_torch_hub(hub):
    code, weights = places(DINOV2)
    assert code.parent == hub
    code.mkdir(parents=True)
    (code / "hubconf.py").write_text(HUBCONF)
    assert places(DINOV2) == [code, weights]

    def put(seed: int):
        torch.manual_seed(seed)
        network = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(48, 4))
        weights.parent.mkdir(exist_ok=True)
        torch.save(network.state_dict(), weights)

    put(0)
    first, again = open_extractor(DINOV2), open_extractor(DINOV2)
    put(1)
    other = open_extractor(DINOV2)
    assert first.sha256 == again.sha256 != other.sha256
    assert torch.equal(first(GRAY).features, again(GRAY).features)
    assert not torch.equal(first(GRAY).features, other(GRAY).features)
    assert first(GRAY).features.shape == (len(GRAY), 4)
    assert first(GRAY).logits is None


def test_dinov2_takes_no_file(tmp_path):
    with pytest.raises(ValueError, match="features_weights must be null for DINOv2, which torch.hub finds"):
        open_extractor(DINOV2, tmp_path / "dinov2.pth")
