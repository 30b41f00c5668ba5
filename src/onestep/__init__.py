"""Onestep: one house for consistency models."""

import os

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


def load(uri: str):
    """The model of `models:/onestep-digits@champion` or `models:/onestep-digits/2`, whose `sample` gives arrays.

    ValueError if there is none in the registry of the working folder, or of MLFLOW_TRACKING_URI.
    """
    from onestep.tracking import load_registered

    return load_registered(uri)
