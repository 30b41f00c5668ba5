"""The files of a version, which MLflow loads a generator from: they need nothing of ours that is installed.

MLmodel                  how MLflow loads it, and the hashes of what follows
generator.py             the file that MLflow runs ("models from code"): serving/entry.py
artifacts/fewstep.zip    this package's sources; generator.py checks their hash and imports them
artifacts/model/         weights and description
requirements.txt         other packages, pinned; none of them is ours
"""

import hashlib
import json
import logging
import shutil
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZIP_DEFLATED, ZipFile

if TYPE_CHECKING:
    from fewstep.models.model import SavedModel

# What the served generator imports, editing included: a test compares. Fewstep comes inside the version.
NEEDED = ("mlflow", "numpy", "pillow", "pydantic", "safetensors", "torch")
SOURCES = Path(__file__).parents[1]
PACKAGE = "artifacts/fewstep.zip"
PARTS = ("MLmodel", "generator.py", PACKAGE, "artifacts/model")  # what nothing is served without
SEAL, CODE_SEAL, PACKAGE_SEAL = "model_seal", "code_seal", "package_seal"


def write_package(model: "SavedModel", temporary: Path) -> None:
    """The folder `pyfunc`: PARTS of a finished model, and what MLflow writes beside them."""
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
        pip_requirements=[f"{package}=={installed(package).partition('+')[0]}" for package in NEEDED],
    )


def write_sources(file: Path) -> None:
    """This package's Python sources as one file: it is sealed and sent as a whole, and importing adds nothing to it."""
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for source in sorted(SOURCES.rglob("*.py")):
            archive.write(source, source.relative_to(SOURCES.parent).as_posix())


def seals_of(folder: Path) -> dict[str, str]:
    """{tag: hash} of a version's PARTS in a folder. Versions from before there was a package have none."""
    seals = {CODE_SEAL: _sha256(folder / "MLmodel", folder / "generator.py"), SEAL: seal_of(folder / "artifacts/model")}
    return seals | ({PACKAGE_SEAL: _sha256(folder / PACKAGE)} if (folder / PACKAGE).exists() else {})


def seal_of(folder: Path) -> str:
    """The hash in a finished model's description, of its levels, the data's scale and where its weights come from."""
    return json.loads((folder / "model.json").read_text())["seal"]


def _sha256(*files: Path) -> str:
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
