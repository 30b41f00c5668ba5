"""Networks: functions of (x, c_noise, labels, second, augment) that know nothing of sigma."""

from collections.abc import Mapping, Sequence
from inspect import Parameter, signature
from typing import Any

from fewstep.networks.dit import DiT
from fewstep.networks.edm2 import EDM2
from fewstep.networks.mlp import MLP
from fewstep.networks.network import Network
from fewstep.networks.unet import UNet
from fewstep.support.checks import above, at_least, between, check_value, each, up_to, within
from fewstep.support.names import check_name

__all__ = ["EDM2", "MLP", "NETWORKS", "DiT", "Network", "UNet", "build_network", "check_arguments", "settings_of"]

NUMERICS = 1  # see fewstep.training.numerics
NETWORKS: dict[str, type[Network]] = {"unet": UNet, "edm2": EDM2, "dit": DiT, "mlp": MLP}
WIDEST, WIDER, DEEPEST, MOST_SIZES = 2**14, 64, 100, 12  # channels; their multiples; blocks of a size; sizes
CHECKS = {"dropout": within(0, 1), "norm_eps": up_to(1, above(0))}
CHECKS |= {"channel_mult": each(up_to(WIDER, above(0)), MOST_SIZES)}
CHECKS |= dict.fromkeys(("channels", "num_heads", "group_channels"), up_to(WIDEST, at_least(1)))
CHECKS |= dict.fromkeys(("decoder_heads", "head_channels", "augment_dim", "dropout_size"), up_to(WIDEST, at_least(0)))
CHECKS |= dict.fromkeys(("channel_mult_emb", "channel_mult_noise", "stem_mult"), up_to(WIDER, above(0)))
CHECKS |= dict.fromkeys(("fourier_scale", "c_noise_scale"), up_to(1e6, above(0)))
CHECKS |= {"patch": between(1, 8), "mlp_ratio": up_to(WIDER, above(0))}
CHECKS |= {"num_blocks": up_to(DEEPEST, at_least(0)), "skip_scale": up_to(10, above(0))}


def build_network(spec: dict[str, Any], shape: Sequence[int], num_classes: int = 0) -> Network:
    """The network of spec {name, ...its arguments} for samples of a shape: [D] for "mlp", [C, H, W] for the others.

    Called as network(x, c_noise, labels=None, second=None, augment=None) -> [B, *shape], with x: [B, *shape];
    c_noise: [B]; labels: [B, num_classes] one-hot, a row of zeros for no label; second: [B], a second time;
    augment: [B, augment_dim].
    Its `settings` are settings_of(spec). Raises ValueError for a name, an argument or a value that is not allowed.
    """
    name, arguments = check_arguments(spec)
    kind = NETWORKS[name]
    network = kind(tuple(shape), num_classes, kind.Settings(**arguments))
    network.settings = settings_of(spec)
    return network


def settings_of(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Every argument of a network's spec, those that it leaves to their defaults too."""
    defaults = {argument.name: argument.default for argument in arguments_of(spec["name"])}
    full = {**defaults, **spec}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in full.items()}


def check_arguments(spec: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The network's name and its arguments. Raises ValueError for one that there is not, or out of range."""
    arguments = dict(spec)
    name = check_name("network", arguments.pop("name", None), NETWORKS)
    defaults = {argument.name: argument.default for argument in arguments_of(name)}
    for argument, value in arguments.items():
        check_name("argument", argument, defaults, f"the network {name!r}")
        if argument in CHECKS and value != defaults[argument]:  # a default may be a value apart, such as 0
            check_value(argument, value, CHECKS[argument])
    return name, arguments


def arguments_of(name: str) -> list[Parameter]:
    """The arguments that a network takes."""
    return list(signature(NETWORKS[name].Settings).parameters.values())
