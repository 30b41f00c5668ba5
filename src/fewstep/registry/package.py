"""The files of a version, from which MLflow loads a generator. They need no installed Fewstep.

MLmodel                  how MLflow loads it, and the hashes of what follows
generator.py             the file that MLflow runs ("models from code"): serving/entry.py
artifacts/fewstep.zip    this package's sources; generator.py checks their hash and imports them
artifacts/model/         weights and description
requirements.txt         other packages, pinned; none of them is ours. Sealed too, with conda.yaml and python_env.yaml
"""

import hashlib
import logging
import shutil
from collections.abc import Mapping
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

from fewstep.support.json_text import parse_json

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

# What the served generator imports, editing included: a test compares. Fewstep comes inside the version.
NEEDED = ("mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")
SOURCES = Path(__file__).parents[1]
PACKAGE = "artifacts/fewstep.zip"
PARTS = ("MLmodel", "generator.py", PACKAGE, "artifacts/model")  # without which nothing is served
ENVIRONMENT = ("requirements.txt", "conda.yaml", "python_env.yaml")  # what an environment for it is built from
SEAL, CODE_SEAL, PACKAGE_SEAL, ENVIRONMENT_SEAL = "model_seal", "code_seal", "package_seal", "environment_seal"
SEALS = (CODE_SEAL, PACKAGE_SEAL, SEAL, ENVIRONMENT_SEAL)


def write_package(model: "SavedModel", temporary: Path) -> None:
    """Write the folder `pyfunc` in `temporary`: PARTS of a finished model, and what MLflow adds to them."""
    from mlflow import pyfunc

    logging.getLogger("mlflow.models.signature").setLevel(logging.WARNING)  # "no output type hint"
    # Laid out as a version is, because MLflow runs generator.py once when it saves it.
    (temporary / "artifacts").mkdir()
    copied = model.save(temporary / "artifacts" / "model")
    shutil.copy(SOURCES / "serving" / "entry.py", temporary / "generator.py")
    write_sources(temporary / PACKAGE)
    seals = {SEAL: seal_of(copied.folder), PACKAGE_SEAL: _sha256(temporary / PACKAGE)}
    pyfunc.save_model(
        temporary / "pyfunc",
        python_model=str(temporary / "generator.py"),
        artifacts={"model": str(temporary / "artifacts" / "model"), "package": str(temporary / PACKAGE)},
        model_config={"model_sha256": model.sha256, **seals},
        pip_requirements=[
            f"{package}=={installed(package).partition('+')[0]}" for package in (*NEEDED, *model.space.packages)
        ],
    )


def write_sources(file: Path) -> None:
    """The Python sources of this package in one file, which is sealed as a whole. Importing it writes no .pyc files."""
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for source in sorted(SOURCES.rglob("*.py")):
            archive.write(source, source.relative_to(SOURCES.parent).as_posix())


def seals_of(folder: Path) -> dict[str, str]:
    """{tag: hash} of the files of a version in a folder, as far as it has them: older versions have no package."""
    seals = {CODE_SEAL: _sha256(folder / "MLmodel", folder / "generator.py"), SEAL: seal_of(folder / "artifacts/model")}
    for seal, parts in ((PACKAGE_SEAL, (PACKAGE,)), (ENVIRONMENT_SEAL, ENVIRONMENT)):
        files = [folder / part for part in parts]
        if all(file.exists() for file in files):
            seals[seal] = _sha256(*files)
    return seals


def parts_of(tags: Mapping[str, str]) -> list[str]:
    """The files that a version with these tags was registered with: one without a seal may lack what that seals."""
    sealed_by = {PACKAGE: PACKAGE_SEAL, **dict.fromkeys(ENVIRONMENT, ENVIRONMENT_SEAL)}
    return [part for part in (*PARTS, *ENVIRONMENT) if part not in sealed_by or sealed_by[part] in tags]


def seal_of(folder: Path) -> str:
    """The seal of a finished model's description: levels, scale of the data, and origin of the weights."""
    return parse_json((folder / "model.json").read_text())["seal"]


def _sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
