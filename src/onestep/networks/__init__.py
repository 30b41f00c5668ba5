"""Networks: functions of (x, c_noise, labels, second, augment) that know nothing of sigma."""

from collections.abc import Sequence
from inspect import signature

from torch import nn

from onestep.diffusion.names import check_name
from onestep.networks.embeddings import Conditioning
from onestep.networks.mlp import MLP
from onestep.networks.unet import UNet

__all__ = ["MLP", "NETWORKS", "UNet", "build_network", "check_arguments"]

NETWORKS = {"unet": UNet, "mlp": MLP}


def build_network(spec: dict, shape: Sequence[int], num_classes: int = 0) -> nn.Module:
    """The network of spec {name, ...its arguments} for samples of a shape: [C, H, W] for "unet", [D] for "mlp".

    Called as network(x, c_noise, labels=None, second=None, augment=None) -> [B, *shape], with x: [B, *shape];
    c_noise: [B]; labels: [B, num_classes] one-hot, a row of zeros for no label; second: [B], a second time;
    augment: [B, augment_dim].
    Raises ValueError for a name, an argument or a value that is not allowed.
    """
    name, arguments = check_arguments(spec)
    return NETWORKS[name](tuple(shape), num_classes, **arguments)


def check_arguments(spec: dict) -> tuple[str, dict]:
    """The network's name and its arguments. Raises ValueError for one that there is not."""
    arguments = dict(spec)
    name = check_name("network", arguments.pop("name", None), NETWORKS)
    parameters = {**signature(Conditioning).parameters, **signature(NETWORKS[name]).parameters}
    allowed = [p.name for p in parameters.values() if p.kind == p.KEYWORD_ONLY]
    for argument in arguments:
        check_name(f"argument of the network {name!r}", argument, allowed)
    return name, arguments
