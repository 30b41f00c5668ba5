"""The weights of published U-Nets (see released.py) under our names and in our layout."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from fewstep.networks.released import family_of, from_published
from fewstep.support.errors import InvalidInput

EDM_LEVELS = (
    (r"^map_noise\.freqs", "embed.time.frequencies"),
    (r"^map_layer0\.", "embed.hidden."),
    (r"^map_layer1\.", "embed.out."),
    (r"^map_label\.", "embed.labels."),
    (r"^map_augment\.", "embed.augment."),
    (r"^enc\.\d+x\d+_conv\.", "stem."),
    (r"^dec\.\d+x\d+_in(\d)\.", r"middle.\1."),
    (r"^enc\.", "encoder."),
    (r"^dec\.", "decoder."),
    (r"_(down|up)\.", r".\1."),
    (r"_block(\d+)\.", r".blocks.\1."),
    (r"_aux_(residual|skip)\.", ".side.conv."),
    (r"_aux_(norm|conv)\.", r".output.\1."),
)
EDM_LAYERS = {
    "norm0": "norm_in",
    "conv0": "conv_in",
    "affine": "modulation.affine",
    "norm1": "modulation.norm",
    "conv1": "conv_out",
    "skip": "shortcut",
    "norm2": "attention.norm",
    "qkv": "attention.qkv",
    "proj": "attention.project",
}
EDM2_ENDS = {
    "emb_fourier.freqs": "embed.time.frequencies",
    "emb_fourier.phases": "embed.time.phases",
    "emb_noise.weight": "embed.noise.weight",
    "emb_label.weight": "embed.labels.weight",
    "out_conv.weight": "output.weight",
    "out_gain": "output.gain",
}
EDM2_LAYERS = {
    "conv_res0": "conv_in",
    "conv_res1": "conv_out",
    "conv_skip": "shortcut",
    "emb_linear": "modulation.affine",
    "attn_qkv": "attention.qkv",
    "attn_proj": "attention.project",
}
OPENAI_ENDS = {"time_embed.0": "embed.hidden", "time_embed.2": "embed.out", "label_emb": "embed.labels"}
OPENAI_LAYERS = {
    "in_layers.0": "norm_in",
    "in_layers.2": "conv_in",
    "emb_layers.1": "modulation.affine",
    "out_layers.0": "modulation.norm",
    "out_layers.3": "conv_out",
    "skip_connection": "shortcut",
    "norm": "attention.norm",
    "qkv": "attention.qkv",
    "proj_out": "attention.project",
    "op": "conv",
    "conv": "conv",
}


def import_weights(config: Mapping[str, Any], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights as a state dictionary of build_network(**from_published(config)).

    Raises ValueError for a name that OpenAI's network does not have; load_state_dict refuses the others.
    """
    published = from_published(config)
    size, spec = published["shape"][1], published["spec"]
    family = family_of(config)
    if family == "UNet":
        named = {edm2_name(name): w for name, w in weights.items() if not name.startswith("logvar_")}
        return {name: _qkv_first(w) if ".qkv." in name else w for name, w in named.items()}
    if family == "UNetModel":
        named = {
            openai_name(name, size, spec["num_blocks"], len(spec["channel_mult"])): w for name, w in weights.items()
        }
        return {name: w.T.contiguous() if name == "embed.labels.weight" else w for name, w in named.items()}
    named = {edm_name(name, size): w for name, w in weights.items() if not name.endswith(".resample_filter")}
    return {name: _edm_layout(name, w, sine_first=family == "SongUNet") for name, w in named.items()}


def edm_name(name: str, size: int) -> str:
    """Our name of an EDM parameter. size: of the images."""
    for pattern, ours in EDM_LEVELS:
        name = re.sub(pattern, ours, name)
    name = re.sub(r"^out_(norm|conv)\.", rf"decoder.{size}x{size}.output.\1.", name)
    return re.sub(r"\.(\w+)\.(weight|bias)$", lambda m: f".{EDM_LAYERS.get(m[1], m[1])}.{m[2]}", name)


def edm2_name(name: str) -> str:
    """Our name of an EDM2 parameter."""
    name = name.removeprefix("unet.")
    if name in EDM2_ENDS:
        return EDM2_ENDS[name]
    for pattern, ours in EDM_LEVELS:
        name = re.sub(pattern, ours, name)
    name = re.sub(r"\.emb_gain$", ".modulation.affine.gain", name)
    return re.sub(r"\.(\w+)\.weight$", lambda m: f".{EDM2_LAYERS.get(m[1], m[1])}.weight", name)


def openai_name(name: str, size: int, num_blocks: int, levels: int) -> str:
    """Our name of an OpenAI parameter. size: of the images; num_blocks, levels: as in the network's spec."""
    layer, _, kind = name.rpartition(".")
    sizes = [f"{size >> level}x{size >> level}" for level in range(levels)]
    ends = OPENAI_ENDS | {"input_blocks.0.0": "stem"}
    ends |= {"out.0": f"decoder.{sizes[0]}.output.norm", "out.2": f"decoder.{sizes[0]}.output.conv"}
    if layer in ends:
        return f"{ends[layer]}.{kind}"
    place = re.fullmatch(r"(input_blocks|middle_block|output_blocks)\.(\d+)(?:\.(\d+))?\.([a-z]\w*(?:\.\d)?)", layer)
    if place is None or place[4] not in OPENAI_LAYERS:
        raise InvalidInput(f"{name!r} is not a parameter of OpenAI's UNetModel: is this another network?")
    part, first, second, layer = place[1], int(place[2]), place[3], OPENAI_LAYERS[place[4]]
    if part == "middle_block":  # block, attention, block
        return f"middle.{first // 2}.{layer}.{kind}"
    if part == "input_blocks":  # the first convolution; then of each size its blocks and the way down
        level, index = divmod(first - 1, num_blocks + 1)
        module = f"encoder.{sizes[level]}.blocks.{index}" if index < num_blocks else f"encoder.{sizes[level + 1]}.down"
    else:  # of each size one block more; the way up follows the last one, and its attention
        level, index = divmod(first, num_blocks + 1)
        own = second == "0" or layer.startswith("attention.")
        module = f"decoder.{sizes[-1 - level]}.blocks.{index}" if own else f"decoder.{sizes[-2 - level]}.up"
    return f"{module}.{layer}.{kind}"


def _edm_layout(name: str, weight: Tensor, sine_first: bool) -> Tensor:
    if ".qkv." in name:
        return _qkv_first(weight)
    if sine_first and name == "embed.hidden.weight":  # [sin, cos] -> [cos, sin]
        return torch.roll(weight, weight.shape[1] // 2, dims=1)
    if sine_first and name.startswith(("embed.labels.", "embed.augment.")):
        return torch.roll(weight, len(weight) // 2, dims=0)
    return weight


def _qkv_first(weight: Tensor) -> Tensor:
    """Channels (head, channel of the head, q k v) -> (q k v, head, channel of the head)."""
    return weight.unflatten(0, (-1, 3)).transpose(0, 1).flatten(0, 1)
