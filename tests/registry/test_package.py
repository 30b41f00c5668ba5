"""A version's files: they are enough to serve it where Fewstep is not installed."""

import base64
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from fewstep.registry import force, promote, register
from fewstep.registry.gate import Rules
from fewstep.registry.package import NEEDED, PACKAGE, SOURCES, write_package

LOCK = Path(__file__).parents[2] / "requirements.lock"
OURS = ("fewstep", "onestep")
Image.new("L", (8, 8), 99).save(png := io.BytesIO(), "png")
PICTURE = base64.b64encode(png.getvalue()).decode()
REQUESTS = [
    {"nfe": 2, "seed": 3},
    {"nfe": 2, "edit": {"task": "inpaint", "images": [PICTURE], "mask": "center"}},
    {"edit": {"task": "superresolve", "images": [PICTURE], "factor": 2}},
    {"edit": {"task": "stroke", "images": [PICTURE]}},
    {"edit": {"task": "denoise", "images": [PICTURE]}},
    {"edit": {"task": "interpolate", "frames": 3}},
]
# Loads a version, answers the requests, and lists which packages were imported by the code of a version.
SERVE = """
import builtins, json, sys
place, requests = sys.argv[1], json.loads(sys.argv[2])
found, plain = set(), builtins.__import__

def noting(name, namespace=None, *rest, **more):
    caller, top = str((namespace or {}).get("__name__")), name.partition(".")[0]
    if caller.startswith(("fewstep", "code_model_")) and top not in sys.stdlib_module_names:
        found.add(top)
    return plain(name, namespace, *rest, **more)

import mlflow
builtins.__import__ = noting
answers = mlflow.pyfunc.load_model(place).predict(requests)
images, place = [answer["images"] for answer in answers], sys.modules["fewstep"].__file__
print(json.dumps({"images": images, "from": place, "used": sorted(found)}))
"""


@pytest.fixture
def package(finished_model, tmp_path):
    """(the files of a version, the model's folder)."""
    folder = finished_model()
    (place := tmp_path / "package").mkdir()
    write_package(folder, place)
    return place / "pyfunc", folder


def served(python: Path | str, package: Path, folder: Path, **environment) -> dict:
    """What SERVE prints, in a folder where there is nothing else."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | environment
    command = [python, "-c", SERVE, str(package), json.dumps(REQUESTS)]
    said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def decoded(picture):
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))))


@pytest.mark.slow
def test_requirements_are_the_locks_and_name_nothing_of_ours(package):
    place, _ = package
    requirements = (place / "requirements.txt").read_text().split()
    assert set(requirements) <= {line.lower() for line in LOCK.read_text().split()}
    assert sorted(line.partition("==")[0] for line in requirements) == sorted(NEEDED)
    for file in ("requirements.txt", "conda.yaml", "python_env.yaml"):
        assert not [name for name in OURS if name in (place / file).read_text()]


@pytest.mark.slow
def test_the_versions_own_code_serves_whatever_is_installed(package, tmp_path):
    """And it imports exactly the packages that its requirements name, editing included."""
    place, folder = package
    other = tmp_path / "other" / "fewstep"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise RuntimeError('this is another Fewstep')")
    found = served(sys.executable, place, tmp_path, PYTHONPATH=str(other.parent))
    assert found["from"] == str(place / PACKAGE / "fewstep" / "__init__.py")
    assert set(found["used"]) == {"fewstep", *({"pillow": "PIL"}.get(name, name) for name in NEEDED)}
    assert np.array_equal(decoded(found["images"][0][0]), folder.load().sample(nfe=2, seed=3, indices=range(1))[0, 0])


@pytest.mark.slow
def test_a_package_has_all_sources_and_nothing_else(package):
    place, _ = package
    with ZipFile(place / PACKAGE) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == {
            f"fewstep/{file.relative_to(SOURCES).as_posix()}": file.read_bytes() for file in SOURCES.rglob("*.py")
        }


def changed(place: Path) -> str:
    """A version's package with another line in one file; the hash that it had."""
    before = hashlib.sha256((place / PACKAGE).read_bytes()).hexdigest()
    with ZipFile(place / PACKAGE) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    with ZipFile(place / PACKAGE, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content + (b"\n# another line\n" if name.endswith("batching.py") else b""))
    return before


@pytest.mark.slow
def test_changed_code_in_a_version_is_not_served(package):
    from mlflow.pyfunc import load_model

    place, _ = package
    before = changed(place)
    with pytest.raises(Exception, match="the code is not what was registered: this version is not served"):
        load_model(str(place))
    now = hashlib.sha256((place / PACKAGE).read_bytes()).hexdigest()
    described = (place / "MLmodel").read_text()
    (place / "MLmodel").write_text(described.replace(before, now))
    with pytest.raises(Exception, match="this process has already imported another one"):
        load_model(str(place))


@pytest.mark.slow
def test_changed_code_is_neither_promoted_nor_served_from_a_registry(
    backend, finished_model, scores, monkeypatch, tmp_path
):
    """Not even where MLmodel was changed with it."""
    record = register(finished_model(), scores(26.0), backend)
    place = Path(backend.client().get_model_version("fewstep-digits", "1").source)
    before = changed(place)
    now = hashlib.sha256((place / PACKAGE).read_bytes()).hexdigest()
    (place / "MLmodel").write_text((place / "MLmodel").read_text().replace(before, now))
    with pytest.raises(ValueError, match="version 1: its files are not the registered ones"):
        promote(backend, "fewstep-digits", None, Rules())
    with pytest.raises(ValueError, match="version 1: its files are not the registered ones"):
        force(backend, "fewstep-digits", 1, "as it is")
    code = f"import mlflow; mlflow.pyfunc.load_model({record['uri']!r})"
    environment = {**os.environ, "MLFLOW_TRACKING_URI": backend.uri}
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert "its files are not the registered ones: it is not served" in said.stderr


@pytest.mark.slow
def test_a_dockerfile_of_a_version_names_nothing_of_ours(package, tmp_path):
    place, _ = package
    words = ["models", "generate-dockerfile", "-m", str(place), "-d", str(tmp_path / "image")]
    said = subprocess.run([sys.executable, "-m", "mlflow", *words], capture_output=True, text=True)
    assert said.returncode == 0, said.stderr
    made = (tmp_path / "image" / "Dockerfile").read_text()
    assert "pip" in made and not [name for name in OURS if name in made]


@pytest.mark.check
def test_an_environment_of_its_requirements_serves_a_version(package, tmp_path):
    place, folder = package
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    # pip would ask for hashes in the requirements, too, if the constraints had them.
    (pins := tmp_path / "pins.txt").write_text("\n".join(re.findall(r"^[\w.-]+==\S+", LOCK.read_text(), re.MULTILINE)))
    words = ["--quiet", "--disable-pip-version-check", "--requirement", place / "requirements.txt"]
    subprocess.run([python, "-m", "pip", "install", *words, "--constraint", pins], check=True)
    listed = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
    assert not [name for name in OURS if name in listed]
    found = served(python, place, tmp_path)
    assert np.array_equal(decoded(found["images"][0][0]), folder.load().sample(nfe=2, seed=3, indices=range(1))[0, 0])
