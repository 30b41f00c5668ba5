"""Published transformers as settings of ours, and their weights under our names: both by their state dictionaries.

facebookresearch/DiT, willisma/SiT, and zhuyu-cs/MeanFlow, whose SiT has a second time. Shapes tell everything but the
number of heads, which the published sizes do. The variance that some of them return too is left out, as their samplers
of an ODE do.
"""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fewstep.networks.dit_settings import SIZES, Size
from fewstep.support.errors import InvalidInput

NAMES = (
    (r"^x_embedder\.proj\.", "stem."),
    (r"^pos_embed$", "positions"),
    (r"^t_embedder\.mlp\.0\.", "embed.hidden."),
    (r"^t_embedder\.mlp\.2\.", "embed.out."),
    (r"^r_embedder\.mlp\.0\.", "embed.second_hidden."),
    (r"^r_embedder\.mlp\.2\.", "embed.second_out."),
    (r"^y_embedder\.embedding_table\.", "embed.labels."),
    (r"^final_layer\.", "head."),
    (r"\.adaLN_modulation\.1\.", ".modulation.affine."),
    (r"\.attn\.qkv\.", ".attention.qkv."),
    (r"\.attn\.proj\.", ".attention.project."),
    (r"\.mlp\.fc1\.", ".mlp.linear_in."),
    (r"\.mlp\.fc2\.", ".mlp.linear_out."),
)
STEM, POSITIONS, LABELS = "x_embedder.proj.weight", "pos_embed", "y_embedder.embedding_table.weight"
LAST, WIDER = "final_layer.linear.weight", "blocks.0.mlp.fc1.weight"
AXES = {STEM: 4, POSITIONS: 3, LABELS: 2, LAST: 2, WIDER: 2}  # of the tensors whose shapes tell


def is_transformer(weights: Mapping[str, Tensor]) -> bool:
    """Whether a state dictionary has the names of a published transformer."""
    return AXES.keys() <= weights.keys()


def from_transformer(weights: Mapping[str, Tensor], num_heads: int | None = None) -> dict[str, Any]:
    """{spec, shape, num_classes}, the arguments of build_network, from the authors' weights.

    num_heads: of a network of no published size. Raises ValueError for shapes that are of no transformer.
    """
    if odd := [name for name, axes in AXES.items() if name not in weights or weights[name].ndim != axes]:
        raise InvalidInput(f"these are not the weights of DiT or SiT: {odd[0]} is missing or of another shape.")
    channels, image_channels, patch, _ = weights[STEM].shape
    side = math.isqrt(weights[POSITIONS].shape[1]) * patch
    blocks = len({name.split(".")[1] for name in weights if name.startswith("blocks.")})
    spec = {"name": "dit", **_size(channels, blocks, num_heads), "patch": patch}
    if weights[WIDER].shape[0] != 4 * channels:
        spec["mlp_ratio"] = weights[WIDER].shape[0] / channels
    if any(name.startswith("r_embedder.") for name in weights):
        spec["second_time"] = True
    # the last row of the table is of no label
    return {"spec": spec, "shape": (image_channels, side, side), "num_classes": weights[LABELS].shape[0] - 1}


def _size(channels: int, blocks: int, num_heads: int | None) -> dict[str, Any]:
    """The settings of a size: by its name if it is published, which tells its heads too."""
    for name, size in SIZES.items():
        if (channels, blocks, num_heads or size.num_heads) == size:
            return {"size": name}
    if num_heads is None:
        raise InvalidInput(
            f"num_heads must be given, since a transformer of {channels} channels and {blocks} blocks has no published "
            f"size ({', '.join(SIZES)})."
        )
    return Size(channels, blocks, num_heads)._asdict()


def transformer_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The authors' weights as a state dictionary of build_network(**from_transformer(weights)).

    Theirs has an embedding of no label, which ours has not: it is part of the bias, and labels differ from it.
    """
    found = {transformer_name(name): weight for name, weight in weights.items()}
    labels, none = found["embed.labels.weight"][:-1], found["embed.labels.weight"][-1]
    found["embed.labels.weight"] = (labels - none).T.contiguous()
    found["embed.out.bias"] = found["embed.out.bias"] + none
    _, channels, patch, _ = found["stem.weight"].shape
    if found["head.linear.weight"].shape[0] == 2 * patch**2 * channels:  # of each pixel: its values, their variances
        for name in ("head.linear.weight", "head.linear.bias"):
            found[name] = found[name].unflatten(0, (patch**2, 2, channels))[:, 0].flatten(0, 1)
    return found


def transformer_name(name: str) -> str:
    """Our name of a parameter of theirs."""
    for pattern, ours in NAMES:
        name = re.sub(pattern, ours, name)
    return name
