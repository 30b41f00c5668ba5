"""Consistency models as folders of Hugging Face diffusers: a UNet2DModel and a CMStochasticIterativeScheduler.

A UNet2DModel is OpenAI's ADM of any size. What of a model of ours it cannot hold is said, and nothing is written.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from fewstep.diffusion.levels import RHO, SIGMA_MAX, karras_levels
from fewstep.exchange.checkpoints import Levels, model_of, sampled, too_large
from fewstep.models.model import SIGMA_DATA, Model
from fewstep.networks import Network, build_network, settings_of
from fewstep.networks.layers import GroupNorm
from fewstep.support.errors import InvalidInput, reason_of
from fewstep.support.file_kinds import SAFETENSORS, check_file_kind
from fewstep.support.files import replaced_folder, sync_file, write_facts
from fewstep.support.json_text import parse_json

# What a UNet2DModel has no setting for, as it is there.
FIXED = {
    "channel_mult_noise": 1, "decoder_attention": "all", "decoder_heads": 0, "double_norm": False, "skip_scale": 1.0,
    "encoder": "standard", "decoder": "standard", "resample_filter": [1, 1], "resample_proj": False,
    "embedding": "positional", "c_noise": "log", "c_noise_scale": 1000.0, "labels_first": False, "augment_dim": 0,
    "second_time": False, "stem_mult": 1,
}  # fmt: skip
BLOCK = {"norm_in": "norm1", "conv_in": "conv1", "modulation.affine": "time_emb_proj", "modulation.norm": "norm2"}
BLOCK |= {"conv_out": "conv2", "shortcut": "conv_shortcut"}
ATTENTION = {"norm": ["group_norm"], "qkv": ["to_q", "to_k", "to_v"], "project": ["to_out.0"]}
DEFAULTS = {"center_input_sample": False, "act_fn": "silu", "mid_block_scale_factor": 1, "downsample_padding": 1}
DEFAULTS |= {"class_embed_type": None, "mid_block_type": "UNetMidBlock2D"}
COUNTS = ("sample_size", "in_channels", "layers_per_block", "norm_num_groups")
TIMESTEPS = 1001  # of the scheduler, which counts levels: so fine that a student's lie on it to a percent
INDEX, WEIGHTS = "model_index.json", "diffusion_pytorch_model.safetensors"
PARTS = {"unet": ["diffusers", "UNet2DModel"], "scheduler": ["diffusers", "CMStochasticIterativeScheduler"]}
PIPELINE = {"_class_name": "ConsistencyModelPipeline", "_diffusers_version": "0.42.1", **PARTS}


def write_diffusers(model: Model, target: Path) -> None:
    """The folder that ConsistencyModelPipeline.from_pretrained loads, in place of an older one, whole or not at all.

    ValueError for what it cannot hold, and where another folder is in the way.
    """
    settings, shape = settings_of(model.spec.network), model.space.shape
    if problems := [*_unlike_theirs(model), *_unheld(settings, model.function.network, shape)]:
        raise InvalidInput(f"diffusers cannot hold this model: {'; '.join(problems)}.")
    config = unet_config(settings, model.function.network, shape)
    scheduler = {"_class_name": PARTS["scheduler"][1], "num_train_timesteps": TIMESTEPS, "rho": RHO}
    scheduler |= {"sigma_min": model.function.boundary, "sigma_max": SIGMA_MAX, "sigma_data": SIGMA_DATA}
    scheduler |= {"s_noise": 1.0, "clip_denoised": False}
    facts = {"name": model.spec.name, "sha256": model.sha256, "timesteps": _timesteps(model)}
    parts = {INDEX: PIPELINE, "unet/config.json": config, "scheduler/scheduler_config.json": scheduler}
    weights = to_theirs(model.function.network.state_dict(), _modules(settings, shape))
    size = sum(tensor.nbytes for tensor in weights.values())
    with replaced_folder(target, INDEX, size) as partial:
        for name, content in (parts | {"fewstep.json": facts}).items():
            (partial / name).parent.mkdir(exist_ok=True)
            write_facts(partial / name, content)
        save_file(weights, partial / "unet" / WEIGHTS, {"format": "pt"})
        sync_file(partial / "unet" / WEIGHTS)


def import_diffusers(folder: Path | str, name: str, dataset: str, *, levels: Levels | None = None) -> Model:
    """The student in the folder of a ConsistencyModelPipeline. levels: as in import_openai.

    ValueError for other pipelines and other networks.
    """
    folder = Path(folder)
    config, scheduler = (_read(folder / part) for part in ("unet/config.json", "scheduler/scheduler_config.json"))
    if config.get("attn_norm_num_groups") is None:  # then it is the other's
        config["attn_norm_num_groups"] = config.get("norm_num_groups")
    kinds = config.get("_class_name"), scheduler.get("_class_name")
    if kinds != (PARTS["unet"][1], PARTS["scheduler"][1]):
        raise InvalidInput(
            f"{folder} holds {' and '.join(map(str, kinds))}: only a ConsistencyModelPipeline is imported."
        )
    _check_scheduler(scheduler, folder)
    _check_counts(config, folder)
    try:
        check_file_kind(folder / "unet" / WEIGHTS, "weights", SAFETENSORS)
        theirs = load_file(folder / "unet" / WEIGHTS)
        size, classes = config["sample_size"], config.get("num_class_embeds") or 0
        settings, shape = _settings(config), (config["in_channels"], size, size)
        if problem := too_large(settings, classes, theirs):
            raise InvalidInput(problem)
        with torch.device("meta"):
            network = build_network(settings, shape, classes)
        weights = from_theirs(theirs, network.state_dict(), _modules(settings_of(settings), shape))
        again = unet_config(settings_of(settings), network, shape)
    except Exception as problem:  # a damaged folder can raise anything
        words = str(problem) or type(problem).__name__
        raise InvalidInput(
            f"{folder} is not the folder of a ConsistencyModelPipeline, or is damaged: {words}"
        ) from None
    odd = [f"{key} {config[key]}" for key in again if config.get(key) not in (None, again[key])]  # None: the default
    if odd := odd or _unheld(settings_of(settings), network, shape):
        raise InvalidInput(f"{folder} has options that our U-Net does not support: {'; '.join(odd)}.")
    kind = {"preconditioning": {"name": "consistency", "boundary": scheduler["sigma_min"]}, "sampler": "multistep"}
    published = {"spec": settings, "shape": shape, "num_classes": classes}
    return model_of(published, weights, sampled(kind, levels), name, dataset, folder / "unet" / WEIGHTS)


def unet_config(settings: Mapping, network: Network, shape: Sequence[int]) -> dict:
    """The arguments of a UNet2DModel for a network of these full settings."""
    widths = [int(settings["channels"] * mult) for mult in settings["channel_mult"]]
    attends = [(shape[1] >> level) in settings["attn_resolutions"] for level in range(len(widths))]
    resample = "resnet" if settings["resample"] == "block" else "conv"
    plain = (
        ("ResnetDownsampleBlock2D", "ResnetUpsampleBlock2D") if resample == "resnet" else ("DownBlock2D", "UpBlock2D")
    )
    return {
        "_class_name": PARTS["unet"][1],
        "sample_size": shape[1],
        "in_channels": shape[0],
        "out_channels": shape[0],
        "time_embedding_type": "positional",
        "time_embedding_dim": int(settings["channels"] * settings["channel_mult_emb"]),
        "freq_shift": int(settings["endpoint"]),
        "flip_sin_to_cos": True,
        "down_block_types": ["AttnDownBlock2D" if attends[i] else plain[0] for i in range(len(widths))],
        "up_block_types": ["AttnUpBlock2D" if here else plain[1] for here in reversed(attends)],
        "block_out_channels": widths,
        "layers_per_block": settings["num_blocks"],
        "downsample_type": resample,
        "upsample_type": resample,
        "attention_head_dim": settings["head_channels"] or None,
        "norm_num_groups": max(_groups(network)),
        "attn_norm_num_groups": max(_groups(network)),
        "norm_eps": settings["norm_eps"],
        "resnet_time_scale_shift": "scale_shift" if settings["adaptive_scale"] else "default",
        "add_attention": settings["middle_attention"],
        "num_class_embeds": network.embed.num_classes or None,
        **DEFAULTS,
    }


def to_theirs(ours: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict[str, Tensor]:
    """A state dictionary of ours by their names and shapes."""
    found = {}
    for key, tensor in ours.items():
        names = _names(key, modules)
        for name, part in zip(names, tensor.chunk(len(names)), strict=True):
            part = part.flatten(1) if ".attentions." in name and part.ndim == 4 else part
            found[name] = (part.T if name.startswith("class_embedding") else part).contiguous()
    return found


def from_theirs(theirs: Mapping[str, Tensor], like: Mapping[str, Tensor], modules: Mapping[str, str]) -> dict:
    """Theirs as a state dictionary of ours, whose shapes are those of like, but for axes of 1 at the end.

    KeyError for a name that is not there, ValueError for another shape.
    """
    found, used = {}, set()
    for key, shape in ((key, tensor.shape) for key, tensor in like.items()):
        names = _names(key, modules)
        used.update(names)
        parts = [theirs[name].T if name.startswith("class_embedding") else theirs[name] for name in names]
        wanted = _plain((shape[0] // len(names), *shape[1:]))
        for name, part in zip(names, parts, strict=True):
            if _plain(part.shape) != wanted:
                raise InvalidInput(f"{name} must have the shape {list(wanted)}, got {list(theirs[name].shape)}")
        found[key] = torch.cat(parts).reshape(shape).float()
    if unknown := sorted(theirs.keys() - used):
        raise KeyError(f"{unknown[0]} is of no place in our U-Net")
    return found


def _plain(shape: Sequence[int]) -> tuple[int, ...]:
    """Without axes of 1 at the end."""
    last = max((axis for axis, size in enumerate(shape, 1) if size != 1), default=0)
    return tuple(shape[:last])


def _names(key: str, modules: Mapping[str, str]) -> list[str]:
    """Theirs for a parameter of ours: several where it is their parameters one after the other."""
    ours = max((name for name in modules if key.startswith(f"{name}.")), key=len)
    layer, _, leaf = key.removeprefix(f"{ours}.").rpartition(".")
    layers = ATTENTION[layer] if ".attentions." in modules[ours] else [BLOCK.get(layer, layer)]
    return [".".join(filter(None, (modules[ours], name, leaf))) for name in layers]


def _modules(settings: Mapping, shape: Sequence[int]) -> dict[str, str]:
    """{module of ours: theirs}."""
    levels, blocks = len(settings["channel_mult"]), settings["num_blocks"]
    sizes = [f"{shape[1] >> level}x{shape[2] >> level}" for level in range(levels)]
    found = {"embed.hidden": "time_embedding.linear_1", "embed.out": "time_embedding.linear_2"}
    found |= {"embed.labels": "class_embedding", "stem": "conv_in"}
    found |= {"middle.0": "mid_block.resnets.0", "middle.1": "mid_block.resnets.1"}
    found |= {"middle.0.attention": "mid_block.attentions.0"}
    found |= {f"decoder.{sizes[0]}.output.norm": "conv_norm_out", f"decoder.{sizes[0]}.output.conv": "conv_out"}
    for level, size in enumerate(sizes):
        down, up = f"down_blocks.{level}", f"up_blocks.{levels - 1 - level}"
        for side, theirs, count in (("encoder", down, blocks), ("decoder", up, blocks + 1)):
            for number in range(count):
                found[f"{side}.{size}.blocks.{number}"] = f"{theirs}.resnets.{number}"
                found[f"{side}.{size}.blocks.{number}.attention"] = f"{theirs}.attentions.{number}"
        if level:  # theirs end a block with what ours begin the next one with
            found[f"encoder.{size}.down"] = f"down_blocks.{level - 1}.downsamplers.0"
            found[f"decoder.{sizes[level - 1]}.up"] = f"up_blocks.{levels - 1 - level}.upsamplers.0"
    return found


def _unlike_theirs(model: Model) -> list[str]:
    """Why their scheduler does not sample this model."""
    kind, scale = model.spec.preconditioning["name"], model.space.scale
    problems = [] if kind == "consistency" else [f"its preconditioning is {kind!r}, and theirs 'consistency'"]
    if model.space.encoding != "pixels":
        problems.append("it sees latents, and theirs pixels (--format pt2 and onnx have the decoder inside)")
    elif scale != 1:
        problems.append(f"its values have the scale {scale:g} (data.scale), and theirs 1")
    return problems


def _unheld(settings: Mapping, network: Network, shape: Sequence[int]) -> list[str]:
    """Why a UNet2DModel is no such network."""
    if settings["name"] != "unet":
        return [f"its network is {settings['name']!r}, and theirs like 'unet'"]
    problems = [f"network.{name} is {settings[name]}, not {v}" for name, v in FIXED.items() if settings[name] != v]
    if settings["channel_mult"][0] != 1:
        problems.append(f"network.channel_mult starts with {settings['channel_mult'][0]}, not 1")
    if settings["num_heads"] != 1 and not settings["head_channels"]:
        problems.append(f"network.num_heads is {settings['num_heads']}: theirs are told by head_channels")
    if len(groups := _groups(network)) > 1:
        problems.append(f"its layers are normalised in {groups} groups, and theirs in one number of them")
    if shape[1] != shape[2]:
        problems.append(f"its images are {shape[1]} x {shape[2]}, and theirs square")
    return problems


def _groups(network: Network) -> list[int]:
    return sorted({module.num_groups for module in network.modules() if isinstance(module, GroupNorm)})


def _settings(config: Mapping) -> dict:
    """Ours for the arguments of a UNet2DModel; what of them is not looked at here is compared later."""
    first = config["block_out_channels"][0]
    sizes = [config["sample_size"] >> level for level in range(len(config["block_out_channels"]))]
    kinds = zip(sizes, config["down_block_types"], strict=True)
    groups = config["norm_num_groups"]
    return {
        "name": "unet",
        "channels": first,
        "channel_mult": [width / first for width in config["block_out_channels"]],
        "channel_mult_emb": (config.get("time_embedding_dim") or 4 * first) / first,
        "num_blocks": config["layers_per_block"],
        "attn_resolutions": [size for size, kind in kinds if kind.startswith("Attn")],
        "middle_attention": config.get("add_attention", True),
        "head_channels": config["attention_head_dim"] or 0,
        "adaptive_scale": config["resnet_time_scale_shift"] == "scale_shift",
        "resample": "block" if config["downsample_type"] == "resnet" else "conv",
        "group_channels": 1 if groups >= 32 else first // (groups + 1) + 1,  # the least that makes so many groups
        "norm_eps": config["norm_eps"],
        "endpoint": bool(config["freq_shift"]),
        "c_noise_scale": 1000.0,
    }


def _check_scheduler(scheduler: Mapping, folder: Path) -> None:
    names = ("sigma_data", "sigma_max", "sigma_min")
    if odd := [name for name in names if not isinstance(scheduler.get(name), int | float)]:
        raise InvalidInput(f"{odd[0]} in {folder} must be a number, got {scheduler.get(odd[0])!r}.")
    data, largest, least = (scheduler[name] for name in names)
    if (data, largest) != (SIGMA_DATA, SIGMA_MAX):
        raise InvalidInput(
            f"{folder} must have sigma_data {SIGMA_DATA} and sigma_max {SIGMA_MAX}, got {data} and {largest}."
        )
    if not 0 < least < largest:
        raise InvalidInput(f"sigma_min in {folder} must be above 0 and below {largest}, got {least}.")


def _check_counts(config: Mapping, folder: Path) -> None:
    """What is counted in a network's configuration is there, and at least 1."""
    counts = {name: config.get(name) for name in COUNTS}
    widths = config.get("block_out_channels")
    widths = widths if isinstance(widths, list) and widths else [widths]
    for name, value in (*counts.items(), *(("block_out_channels", width) for width in widths)):
        if type(value) is not int or value < 1:
            raise InvalidInput(f"{name} in {folder} must be a whole number of at least 1, got {value!r}.")


def _timesteps(model: Model) -> dict[str, list[int]]:
    """{NFE: what to call the pipeline with}: the scheduler's levels that are nearest to the student's own."""
    grid = karras_levels(TIMESTEPS, model.function.boundary).log()
    chosen = {nfe: model.levels(int(nfe)).log() for nfe in ("1", *map(str, model.spec.levels))}
    return {nfe: [int((grid - level).abs().argmin()) for level in levels.flip(0)] for nfe, levels in chosen.items()}


def _read(file: Path) -> dict:
    try:
        found = parse_json(file.read_text())
    except (OSError, ValueError) as problem:
        raise InvalidInput(f"{file} cannot be read as a file of diffusers: {reason_of(problem)}.") from None
    if not isinstance(found, dict):
        raise InvalidInput(f"{file} cannot be read as a file of diffusers: it does not hold a JSON object.")
    return found
