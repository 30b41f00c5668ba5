"""The files of a version, which MLflow loads a generator from."""

import hashlib
import json
import logging
from collections.abc import Sequence
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

NEEDED = ("fewstep", "mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")
SEAL, CODE_SEAL = "model_seal", "code_seal"
PARTS = ("MLmodel", "generator.py", "artifacts/model")  # what nothing is served without


def write_package(model: "SavedModel", temporary: Path) -> None:
    """The folder `pyfunc`: our generator.py, with the finished model as its artifact."""
    from mlflow import pyfunc

    logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)  # "no output type hint"
    copied = model.save(temporary / "model")
    pyfunc.save_model(
        temporary / "pyfunc",
        python_model=str(Path(__file__).parents[1] / "serving" / "generator.py"),
        artifacts={"model": str(temporary / "model")},
        model_config={"model_sha256": model.sha256, SEAL: seal_of(copied.folder)},
        pip_requirements=[f"{package}=={installed(package).partition('+')[0]}" for package in NEEDED],
    )


def seals_of(parts: Sequence[Path]) -> dict[str, str]:
    """Of the files or folders that PARTS names: one for what is run to load the model, and that of the model."""
    *run, model = parts
    return {CODE_SEAL: hashlib.sha256(b"".join(file.read_bytes() for file in run)).hexdigest(), SEAL: seal_of(model)}


def seal_of(folder: Path) -> str:
    """That of the description in a finished model's folder: levels, the data's scale, and where weights come from."""
    return json.loads((folder / "model.json").read_text())["seal"]
