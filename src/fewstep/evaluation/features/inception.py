"""Inception v3's outputs beside torch-fidelity's: spatial features for sFID, and clean-fid's resizing."""

from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

SIDE = 299  # of the network's input
SPATIAL = 7  # channels of mixed_6/conv that OpenAI's evaluator takes, at 17 x 17 places

Outputs = tuple[Tensor, ...]


def with_spatial(network: nn.Module) -> Callable[[Tensor], Outputs]:
    """uint8 [B, 3, H, W] -> torch-fidelity's outputs, and spatial features [B, 2023] (Nash et al. 2021)."""
    seen: list[Tensor] = []
    # TensorFlow's mixed_6/conv is the first branch of the block that PyTorch's port calls Mixed_6d.
    branch = network.get_submodule("Mixed_6d.branch1x1")
    branch.register_forward_hook(lambda _, __, maps: seen.append(maps[:, :SPATIAL].flatten(1)))
    return lambda images: (*network(images), seen.pop())


def with_clean_resizing(network: nn.Module) -> Callable[[Tensor], Outputs]:
    """The same network on images that are resized as Parmar et al. 2022 do it."""
    resized: list[Tensor] = []
    first = network.get_submodule("Conv2d_1a_3x3")
    first.register_forward_pre_hook(lambda _, __: ((resized.pop() - 128) / 128,))

    def outputs(images: Tensor) -> Outputs:
        resized.append(clean_resize(images))
        return network(images)  # what it resizes itself is replaced before its first layer

    return outputs


def clean_resize(images: Tensor) -> Tensor:
    """uint8 [B, C, H, W] -> float32 [B, C, 299, 299]: PIL's bicubic filter on each channel, without rounding."""
    planes = images.cpu().flatten(0, 1).numpy().astype(np.float32)
    large = [np.asarray(Image.fromarray(plane).resize((SIDE, SIDE), Image.Resampling.BICUBIC)) for plane in planes]
    return torch.from_numpy(np.stack(large)).unflatten(0, images.shape[:2]).to(images.device)
