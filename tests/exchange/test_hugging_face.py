"""Folders of diffusers: what its pipeline makes of ours, and ours of its."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from fewstep.data.space import DataSpace
from fewstep.exchange import export_model, import_diffusers, import_openai
from fewstep.exchange.hugging_face import _settings
from fewstep.support.torchvision_loading import ensure_torchvision_loads

NETWORK = {"name": "unet", "channels": 32, "channel_mult": [1, 2], "num_blocks": 1, "attn_resolutions": [4]}
NETWORK |= {"group_channels": 1, "c_noise_scale": 1000.0, "head_channels": 16}
KINDS = [{}, {"resample": "conv", "adaptive_scale": False, "endpoint": True}, {"middle_attention": False}]


@pytest.fixture
def model(draw_model):
    """A small student with weights of a seed, as diffusers can hold it: a function of (changes of its network)."""

    def build(labels=False, scale=1.0, preconditioning="consistency", **changes):
        space = DataSpace("patches", "images", (3, 8, 8), scale, tuple("01234") if labels else ())
        spec = {"name": "cd", "network": NETWORK | changes, "preconditioning": {"name": preconditioning}}
        return draw_model(spec | {"labels": labels, "levels": {"2": [3.0]}}, space)

    return build


@pytest.fixture
def pipeline_of():
    """The pipeline of a folder."""
    ensure_torchvision_loads()
    diffusers = pytest.importorskip("diffusers", reason="of the extra 'export': it loads what we write")

    def load(folder):
        pipeline = diffusers.ConsistencyModelPipeline.from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    return load


@pytest.mark.parametrize("changes", KINDS)
@pytest.mark.parametrize("labels", [False, True])
@torch.no_grad()
def test_the_pipeline_makes_our_images_of_the_same_noise(model, tmp_path, pipeline_of, labels, changes):
    ours = model(labels, **changes)
    pipeline = pipeline_of(export_model(ours, tmp_path / "out", "diffusers"))
    noise = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    wanted = ours.function(80 * noise, torch.full((3,), 80.0), torch.eye(5)[[1, 4, 0]] if labels else None)
    images = pipeline(3, [1, 4, 0] if labels else None, latents=noise, output_type="pt").images
    assert (images - (wanted / 2 + 0.5).clamp(0, 1)).abs().max() < 1e-4
    assert images.std() > 0.05


@torch.no_grad()
def test_several_steps_at_the_levels_that_the_folder_names(model, tmp_path, pipeline_of):
    ours = model()
    pipeline = pipeline_of(export_model(ours, tmp_path / "out", "diffusers"))
    noise = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    timesteps = json.loads((tmp_path / "out/fewstep.json").read_text())["timesteps"]["2"]
    given = {"latents": noise, "timesteps": timesteps, "num_inference_steps": None, "output_type": "pt"}
    images = pipeline(3, generator=torch.Generator().manual_seed(7), **given).images
    levels = pipeline.scheduler.sigmas[:2]
    assert levels.tolist() == pytest.approx([80.0, 3.0], rel=0.01)
    extra = torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(7))
    x = ours.function(80 * noise, torch.full((3,), 80.0))
    x = ours.function(x + (levels[1] ** 2 - 0.002**2).sqrt() * extra, levels[1].expand(3))
    assert (images - (x / 2 + 0.5).clamp(0, 1)).abs().max() < 1e-4


def test_a_failure_in_the_middle_leaves_what_was_there(model, whole_or_not_at_all):
    whole_or_not_at_all(model(), "diffusers")


def test_a_folder_of_something_else_is_left_alone(model, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ValueError, match=r"is not empty and holds no model_index.json, so it is left alone"):
        export_model(model(), tmp_path, "diffusers")
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("changes", KINDS)
@pytest.mark.parametrize("labels", [False, True])
def test_a_folder_comes_back_as_the_same_student(model, tmp_path, labels, changes):
    ours = model(labels, **changes)
    back = (
        import_diffusers(export_model(ours, tmp_path / "out", "diffusers"), "cd", "patches")
        .save(tmp_path / "back")
        .load("cpu")
    )
    assert (back.sha256, back.samplers[0]) == (ours.sha256, "multistep")
    assert (
        back.sample(nfe=2, seed=3, indices=range(4), levels=[80.0, 3.0]) == ours.sample(nfe=2, seed=3, indices=range(4))
    ).all()


def test_the_folders_that_are_published_leave_much_to_defaults(model, tmp_path):
    ours = model()
    folder = export_model(ours, tmp_path / "out", "diffusers")
    config = json.loads((folder / "unet/config.json").read_text())
    left = ("time_embedding_dim", "attn_norm_num_groups", "mid_block_type", "num_class_embeds")
    (folder / "unet/config.json").write_text(json.dumps(config | dict.fromkeys(left)))
    assert import_diffusers(folder, "cd", "patches").save(tmp_path / "back").sha256 == ours.sha256


def test_openais_network_goes_through(reference, tmp_path, pipeline_of):
    theirs = reference("openai")
    torch.save(theirs.parameters, tmp_path / "cd.pt")
    ours = import_openai(tmp_path / "cd.pt", "cd", "imagenet64", teacher=False, config=theirs.config)
    pipeline = pipeline_of(export_model(ours, tmp_path / "out", "diffusers"))
    with torch.no_grad():
        output = pipeline.unet(theirs.inputs["x"], theirs.inputs["timesteps"], theirs.inputs["y"]).sample
    assert (output - theirs.output).abs().max() < 1e-4 * theirs.output.abs().max()  # what the authors' module gives


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"group_channels": 4}, "its layers are normalised in [8, 16, 24, 32] groups"),
        ({"c_noise_scale": 1.0}, "network.c_noise_scale is 1.0, not 1000.0"),
        ({"encoder": "residual"}, "network.encoder is residual, not standard"),
        ({"num_heads": 2, "head_channels": 0}, "network.num_heads is 2"),
        ({"channel_mult": [2, 2]}, "channel_mult starts with 2"),
        ({"scale": 0.8}, "its values have the scale 0.8"),
        ({"preconditioning": "trigflow"}, "its preconditioning is 'trigflow'"),
    ],
)
def test_what_it_cannot_hold_is_said(model, tmp_path, changes, words):
    with pytest.raises(ValueError) as said:
        export_model(model(**changes), tmp_path / "out", "diffusers")
    assert words in str(said.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("unet/config.json", {"act_fn": "gelu"}, "has options that our U-Net does not support: act_fn gelu"),
        ("unet/config.json", {"time_embedding_type": "fourier"}, "time_embedding_type fourier"),
        ("unet/config.json", {"layers_per_block": 2}, "or is damaged"),
        ("unet/config.json", {"layers_per_block": 10**9}, "more blocks than weights"),
        ("unet/config.json", {"_class_name": "UNet2DConditionModel"}, "only a ConsistencyModelPipeline"),
        (
            "scheduler/scheduler_config.json",
            {"sigma_data": 1.0},
            "must have sigma_data 0.5 and sigma_max 80.0, got 1.0",
        ),
        ("scheduler/scheduler_config.json", {"sigma_data": None}, "must be a number, got None"),
        ("scheduler/scheduler_config.json", {"sigma_max": "80"}, "must be a number, got '80'"),
        ("scheduler/scheduler_config.json", {"sigma_min": None}, "must be a number, got None"),
        ("scheduler/scheduler_config.json", {"sigma_min": -1.0}, "must be above 0 and below 80.0, got -1.0"),
        ("scheduler/scheduler_config.json", {"sigma_min": float("nan")}, "must be above 0 and below 80.0, got nan"),
        ("unet/config.json", {"block_out_channels": []}, "must be a whole number of at least 1, got []"),
        ("unet/config.json", {"block_out_channels": None}, "must be a whole number of at least 1, got None"),
        ("unet/config.json", {"block_out_channels": [0, 64]}, "must be a whole number of at least 1, got 0"),
        ("unet/config.json", {"block_out_channels": [10**12, 2 * 10**12]}, "or is damaged"),
        ("unet/config.json", {"down_block_types": ["DownBlock2D"]}, "or is damaged"),
        ("unet/config.json", {"down_block_types": [1, 2]}, "or is damaged"),
        ("unet/config.json", {"norm_num_groups": 0}, "must be a whole number of at least 1, got 0"),
        ("unet/config.json", {"num_class_embeds": 10**12}, "more classes than weights"),
    ],
)
def test_what_is_no_such_folder_is_refused(model, tmp_path, file, changes, words):
    folder = export_model(model(), tmp_path / "out", "diffusers")
    (folder / file).write_text(json.dumps(json.loads((folder / file).read_text()) | changes))
    with pytest.raises(ValueError) as said:
        import_diffusers(folder, "cd", "patches")
    assert words in str(said.value)


def test_weights_are_stored_under_their_names(model, tmp_path):
    folder = export_model(model(labels=True), tmp_path / "out", "diffusers")
    names = load_file(folder / "unet/diffusion_pytorch_model.safetensors").keys()
    assert {"class_embedding.weight", "mid_block.attentions.0.to_out.0.bias"} <= names


@pytest.mark.parametrize("content", ["[]", "1", "null", "[" * 100_000])
@pytest.mark.parametrize("file", ["unet/config.json", "scheduler/scheduler_config.json"])
def test_what_is_no_table_of_settings_is_refused(model, tmp_path, file, content):
    folder = export_model(model(), tmp_path / "out", "diffusers")
    (folder / file).write_text(content)
    with pytest.raises(ValueError, match="cannot be read as a file of diffusers"):
        import_diffusers(folder, "cd", "patches")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("conv_in.weight", lambda w: w.transpose(0, 1)),
        ("time_embedding.linear_1.weight", lambda w: w.T),
        ("mid_block.attentions.0.to_q.weight", lambda w: w.reshape(2, -1)),
        ("class_embedding.weight", lambda w: w.T),
    ],
)
def test_weights_of_another_shape_are_refused(model, tmp_path, name, change):
    """Of as many numbers."""
    folder = export_model(model(labels=True), tmp_path / "out", "diffusers")
    file = folder / "unet/diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    save_file(weights | {name: change(weights[name]).contiguous()}, file)
    with pytest.raises(ValueError, match=f"{name} must have the shape"):
        import_diffusers(folder, "cd", "patches")


@pytest.mark.parametrize("channels", [1, 3, 31, 32, 33, 96, 100, 192, 320])
def test_groups_are_the_least_that_make_so_many(channels):
    config = {"block_out_channels": [channels], "sample_size": 8, "down_block_types": ["DownBlock2D"]}
    config |= {"layers_per_block": 1, "attention_head_dim": None, "resnet_time_scale_shift": "default"}
    config |= {"downsample_type": "conv", "norm_eps": 1e-5, "freq_shift": 0}
    sought = {}
    for least in range(channels, 0, -1):
        sought[max(1, min(32, channels // least))] = least
    found = {groups: _settings(config | {"norm_num_groups": groups})["group_channels"] for groups in sought}
    assert found == sought
