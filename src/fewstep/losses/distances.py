"""Distances between two batches [B, ...] -> [B], as modules, since LPIPS is a network.

Values are those that models see; LPIPS undoes the data's scale.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fewstep.support.checks import above, check_value, optional, up_to
from fewstep.support.colour import to_rgb
from fewstep.support.errors import InvalidInput
from fewstep.support.file_kinds import ZIP, check_file_kind
from fewstep.support.names import check_arguments, check_name
from fewstep.support.torchvision_loading import ensure_torchvision_loads


class L1(nn.Module):
    """Mean absolute difference."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).abs().flatten(1).mean(1)


class L2(nn.Module):
    """Mean squared difference."""

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return (a - b).square().flatten(1).mean(1)


class PseudoHuber(nn.Module):
    """sqrt(||a - b||^2 + c^2) - c with the norm of the whole sample. Song and Dhariwal 2023, Eq. 7.

    c: the data's unit, default .00054 sqrt(d) for d dimensions (Section 3.3).
    """

    def __init__(self, c: float | None = None):
        super().__init__()
        check_value("c", c, optional(up_to(1e6, above(0))))
        self.c = c

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        c = 0.00054 * math.sqrt(a[0].numel()) if self.c is None else self.c
        return ((a - b).square().flatten(1).sum(1) + c**2).sqrt() - c


class LPIPS(nn.Module):
    """Learned perceptual distance (Zhang et al. 2018); images below 256 px become 224 (Song et al. 2023, App. C).

    Images of other shapes than a square keep theirs; what is transparent in them is shown on white.

    net: vgg, alex or squeeze. weights: the trunk's state dict as torchvision ships it. Random trunk without weights:
    `lpips_random` alone may do that.
    """

    NAMES: ClassVar = {
        "vgg": "vgg16-397923af.pth",
        "alex": "alexnet-owt-7be5be79.pth",
        "squeeze": "squeezenet1_1-b8a52dc0.pth",
    }

    def __init__(self, net: str = "vgg", weights: str | None = None, scale: float = 1.0, random: bool = False):
        super().__init__()
        check_name("net", net, self.NAMES, "lpips")
        path = None if random else self.find_weights(net, weights)
        ensure_torchvision_loads()
        import lpips

        with torch.random.fork_rng([]):
            torch.manual_seed(0)
            self.network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
        if path:
            self._load_trunk(torch.load(path, weights_only=True))
        self.scale = scale
        self.eval().requires_grad_(False)

    @classmethod
    def find_weights(cls, net: str = "vgg", weights: str | None = None) -> Path:
        """The trunk's file. Raises ValueError that says where to put it, or what is there in its place."""
        check_name("net", net, cls.NAMES, "lpips")
        path = Path(weights or Path(torch.hub.get_dir()) / "checkpoints" / cls.NAMES[net])
        if not path.is_file():
            raise InvalidInput(
                f"lpips needs the ImageNet weights of {net}, and there is no file {path}: put torchvision's "
                f"{cls.NAMES[net]} there, or give its path as `weights` of the distance."
            )
        check_file_kind(path, f"torchvision's weights of {net}", ZIP)
        return path

    def _load_trunk(self, published: dict[str, Any]):
        """torchvision's features.N.* fill the slices, whose layers keep their number N."""
        trunk = self.network.net
        for name in list(trunk.state_dict()):
            _, number, kind = name.split(".", 2)
            trunk.get_parameter(name).data.copy_(published[f"features.{number}.{kind}"])

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        return self.network(self._prepare(a), self._prepare(b)).flatten(1).mean(1)

    def _prepare(self, x: Tensor) -> Tensor:
        x = to_rgb(x / self.scale)
        sides, least = x.shape[-2:], min(x.shape[-2:])
        if least >= 256:
            return x
        size = [round(224 * side / least) for side in sides]
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    def train(self, mode: bool = True):
        """It is a measure: it stays in eval mode."""
        return super().train(False)


BOUND = ("scale", "random")  # arguments that build_distance sets
DISTANCES = {"l1": L1, "l2": L2, "pseudo_huber": PseudoHuber, "lpips": LPIPS, "lpips_random": LPIPS}


def build_distance(spec: str | dict[str, Any], scale: float = 1.0) -> nn.Module:
    """A distance from its name, or from {name, ...its arguments}.

    Raises ValueError for a name or argument that is not there, and for LPIPS weights that are missing.
    """
    arguments = _arguments_of(spec)
    name = check_name("distance", arguments.pop("name", None), DISTANCES)
    check_arguments(f"the distance {name}", DISTANCES[name], arguments, bound=BOUND)
    if name.startswith("lpips"):
        arguments |= {"scale": scale, "random": name == "lpips_random"}
    return DISTANCES[name](**arguments)


def _arguments_of(spec: str | dict[str, Any]) -> dict[str, Any]:
    if isinstance(spec, str):
        return {"name": spec}
    if not isinstance(spec, dict):
        raise InvalidInput.of("distance", spec, "a name, or a section with a name")
    return dict(spec)


def check_data_of_distance(spec: str | dict[str, Any], shape: Sequence[int]) -> None:
    """Raise ValueError where a distance cannot compare data of this shape."""
    name = str(_arguments_of(spec).get("name"))
    if name.startswith("lpips") and (len(shape) != 3 or shape[0] not in (1, 3, 4)):
        raise InvalidInput(
            f"objective.distance must not be {name}, which compares images of 1, 3 or 4 channels, got {list(shape)}."
        )


def check_distance(spec: str | dict[str, Any]):
    """Raises what build_distance would, without building a network."""
    arguments = _arguments_of(spec)
    if not str(arguments.get("name")).startswith("lpips"):
        build_distance(arguments)
    elif check_name("distance", arguments.pop("name"), DISTANCES) == "lpips":
        check_arguments("the distance lpips", LPIPS, arguments, bound=BOUND)
        LPIPS.find_weights(**arguments)
