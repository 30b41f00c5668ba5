"""The `generator.py` of a registered version, which MLflow runs ("models from code").

The Fewstep that is packed in the version serves it. Nothing of it is imported before its hash is compared with that in
MLmodel.
"""

import hashlib
import sys
from importlib.resources import files
from pathlib import Path
from zipfile import ZipFile

from mlflow.exceptions import MlflowException
from mlflow.models import ModelConfig, set_model

PACKAGE = Path(__file__).parent / "artifacts" / "fewstep.zip"


def use_package(package: Path, seal: str) -> None:
    """Make `import fewstep` mean the package in this file.

    Raises MlflowException if it is not the one that was registered, or if this process has imported another Fewstep.
    """
    if not package.is_file() or hashlib.sha256(package.read_bytes()).hexdigest() != seal:
        raise MlflowException("the code is not what was registered: this version is not served")
    if "fewstep" not in sys.modules:
        sys.path.insert(0, str(package))  # before any that is installed
    elif not is_imported(package):
        raise MlflowException(
            f"this version has its own Fewstep, and this process has already imported another one from "
            f"{files('fewstep')}: load the version in a process of its own, or its model alone by fewstep.load()"
        )


def is_imported(package: Path) -> bool:
    """Whether the Fewstep of this process has the same sources as a package: two of them cannot be imported."""
    imported = files("fewstep")
    with ZipFile(package) as archive:
        for name in archive.namelist():
            file = imported.joinpath(*name.split("/")[1:])
            if not file.is_file() or file.read_bytes() != archive.read(name):
                return False
    return True


use_package(PACKAGE, ModelConfig().get("package_seal"))

from fewstep.serving.generator import Generator  # noqa: E402

set_model(Generator())
