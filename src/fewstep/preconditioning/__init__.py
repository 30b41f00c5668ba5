"""From a network to a function of (x, sigma, labels) that estimates clean data."""

from collections.abc import Mapping
from typing import Any

from fewstep.networks.network import Network
from fewstep.preconditioning.consistency import Consistency
from fewstep.preconditioning.edm import EDM
from fewstep.preconditioning.euler_trajectory import EulerTrajectory
from fewstep.preconditioning.flow import Flow
from fewstep.preconditioning.preconditioner import Preconditioner
from fewstep.preconditioning.trajectory import Trajectory
from fewstep.preconditioning.trigflow import TrigFlow
from fewstep.support.names import check_arguments, check_name

NUMERICS = 1  # see fewstep.training.numerics
PRECONDITIONERS: dict[str, type[Preconditioner]] = {
    "edm": EDM,
    "consistency": Consistency,
    "trajectory": Trajectory,
    "euler_trajectory": EulerTrajectory,
    "trigflow": TrigFlow,
    "flow": Flow,
}


def build_preconditioner(spec: Mapping[str, Any], network: Network, sigma_data: float = 0.5) -> Preconditioner:
    """The preconditioner of spec {name, ...its arguments} around a network.

    sigma_data: the standard deviation of the data that the function will see.

    Raises ValueError for a name or an argument that is not there.
    """
    arguments = dict(spec)
    name = check_name("preconditioner", arguments.pop("name", None), PRECONDITIONERS)
    check_arguments(f"the preconditioner {name!r}", PRECONDITIONERS[name], arguments, bound=("network", "sigma_data"))
    return PRECONDITIONERS[name](network, sigma_data, **arguments)
