"""EDM2's networks, known by the names and shapes of their weights."""

import math
import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fewstep.support.errors import InvalidInput

HEAD = 64
FIRST, BLOCK = r"enc\.(\d{1,6})x\d+_conv\.weight", r"enc\.(\d{1,6})x\d+_block(\d+)\.conv_res0\.weight"


def edm2_config(weights: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of the authors' network that has these weights, for from_published.

    options: what the file says of its arguments. What shapes tell is taken from them; the width of a head, which they
    do not tell, is 64 in all published networks. Raises ValueError for weights of another network; any error of a
    lookup means that too.
    """
    shapes = {name.removeprefix("unet."): tuple(tensor.shape) for name, tensor in weights.items()}
    first = next((found for name in shapes if (found := re.fullmatch(FIRST, name))), None)
    blocks = [found for name in shapes if (found := re.fullmatch(BLOCK, name))]
    if first is None or not blocks:
        raise InvalidInput("its weights do not have the names of EDM2's network")
    widths = {int(block[1]): shapes[block[0]][0] for block in blocks}
    sizes = sorted(widths, reverse=True)
    embedding, noise = (shapes["emb_noise.weight"][axis] for axis in (0, 1))
    attending = [shape[1] for name, shape in shapes.items() if name.endswith("attn_qkv.weight")]
    channels = math.gcd(embedding, noise, *widths.values())
    seen = {
        "model_type": "UNet",
        "img_resolution": int(first[1]),
        "img_channels": shapes[first[0]][1] - 1,  # beside the channel of ones
        "label_dim": shapes.get("emb_label.weight", (0, 0))[1],
        "model_channels": channels,
        "channel_mult": [widths[size] // channels for size in sizes],
        "channel_mult_emb": embedding // channels,
        "channel_mult_noise": noise // channels,
        "num_blocks": sum(int(block[1]) == sizes[0] for block in blocks),
        "attn_resolutions": [size for size in sizes if f"enc.{size}x{size}_block0.attn_qkv.weight" in shapes],
    }
    return {"channels_per_head": min([HEAD, *attending]), **options, **seen}
