"""Fewstep trains, distills, judges and ships image generators of one to four network calls."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewstep.models.model import Model
    from fewstep.tracking.backend import Backend

__version__ = "0.1.0"

# Vendors' telemetry is off unless the user has chosen otherwise.
for _name, _value in {
    "DO_NOT_TRACK": "1",
    "KEDRO_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "RAY_USAGE_STATS_ENABLED": "0",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}.items():
    os.environ.setdefault(_name, _value)


def load(
    place: str, backend: "Backend | None" = None, *, precision: str = "fp32", compile: bool | str = False
) -> "Model":
    """The model of a folder, `models:/fewstep-digits@champion` or `models:/fewstep-digits/2`, to `sample` from.

    `hf:owner/name`, or `hf:owner/name@revision`, is one on the Hugging Face Hub (the extra "hub").

    backend: where MLflow keeps the registry; by default MLFLOW_TRACKING_URI or the working folder's mlflow.db.
    precision: of the network's passes, "fp32", or "tf32" or "bf16", which are faster on GPUs. compile: the passes by
    torch.compile; "auto" on GPUs. Raises ValueError if there is no such model.
    """
    from fewstep.networks.execution import Execution

    found = _found(place, backend)
    return found.run_by(Execution.on(found.device, precision, compile))


def _found(place: str, backend: "Backend | None") -> "Model":
    if place.startswith("hf:"):
        from fewstep.exchange.hub_repository import pull

        return pull(place).load()
    from fewstep.models.model import Model
    from fewstep.registry import load_registered

    return load_registered(place, backend) if place.startswith("models:/") else Model.load(place)
