"""Discriminators: functions of (x, labels) -> [B], high for data. Heads judge features of several sizes."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from fewstep.networks.layers import GroupNorm, Linear
from fewstep.support.colour import to_rgb
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import ZIP, check_file_kind

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
SMALLEST = 4


class Head(nn.Module):
    """A judgement of each place of a feature map, and how well the map's mean agrees with the label, [B]."""

    def __init__(self, channels: int, num_classes: int):
        super().__init__()
        self.places = nn.Conv2d(channels, 1, 1)
        self.labels = Linear(num_classes, channels, bias=False) if num_classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        judged = self.places(features).flatten(1).mean(1)
        if self.labels is not None and labels is not None:  # Miyato and Koyama 2018
            judged = judged + (self.labels(labels) * features.mean((2, 3))).mean(1)
        return judged


class Trunk(nn.Module):
    """Convolutions that halve an image until it is small -> each size's features. A point is an image of one pixel."""

    def __init__(self, shape: Sequence[int], channels: int, most: int = 256):
        super().__init__()
        side, width = min(shape[1:], default=1), channels
        layers: list[nn.Module] = [nn.Conv2d(shape[0], width, 3, padding=1)]
        self.widths = [width]
        while side > SMALLEST or len(layers) < 2:
            wider = min(2 * width, most)
            layers.append(nn.Sequential(GroupNorm(width), nn.Conv2d(width, wider, 3, 2 if side > 1 else 1, 1)))
            self.widths.append(wider)
            side, width = side // 2, wider
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = x.view(*x.shape, *[1] * (4 - x.ndim))
        found = []
        for layer in self.layers:
            x = leaky_relu(layer(x), 0.2)
            found.append(x)
        return found


class Backbone(nn.Module):
    """torchvision's VGG16, as trained on ImageNet and frozen -> what it has before each halving.

    path: its state dict (vgg16-397923af.pth). scale: of the data, without which they are in [-1, 1].
    """

    widths = (64, 128, 256, 512)
    mean: Tensor
    std: Tensor

    def __init__(self, path: str, scale: float = 1.0):
        super().__init__()
        self.scale = scale
        published = torch.load(path, weights_only=True)
        layers, inputs = [], 3
        for width, count in zip(self.widths, (2, 2, 3, 3), strict=True):
            for _ in range(count):
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
            layers.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*layers[:-1])
        self.load_state_dict({n: t for n, t in published.items() if n in self.state_dict()})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(-1, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> list[Tensor]:
        x, found = ((to_rgb(x / self.scale) + 1) / 2 - self.mean) / self.std, []
        for layer in self.features:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            x = layer(x)
        return [*found, x]


def check_backbone(path: str, shape: Sequence[int]) -> None:
    """Raise ValueError if the file is not there, or is not for samples of this shape."""
    if len(shape) != 3 or min(shape[1:]) < 8:
        raise InvalidInput(f"gan_backbone needs images of at least 8x8, got the shape {list(shape)}.")
    if not Path(path).is_file():
        raise InvalidInput(
            f"gan_backbone must be the path of torchvision's vgg16-397923af.pth, got {path}: no such file."
        )
    check_file_kind(Path(path), "torchvision's weights of VGG16", ZIP)


class Discriminator(nn.Module):
    """The mean of its heads' judgements. x: [B, ...], values that models see.

    backbone: a file of pretrained features, frozen, in place of a small trunk that is trained with the heads; it undoes
    the data's scale.
    """

    def __init__(
        self,
        shape: Sequence[int],
        num_classes: int = 0,
        channels: int = 32,
        backbone: str | None = None,
        scale: float = 1.0,
    ):
        super().__init__()
        if backbone:
            check_backbone(backbone, shape)
        self.features = Backbone(backbone, scale) if backbone else Trunk(shape, channels)
        self.heads = nn.ModuleList(Head(width, num_classes) for width in self.features.widths)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        judged = [head(f, labels) for head, f in zip(self.heads, self.features(x), strict=True)]
        return torch.stack(judged).mean(0)
