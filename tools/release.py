"""Build the wheel and the source distribution into dist/, and check them.

One version in pyproject.toml, the package and CITATION.cff; every file of the package in both archives; and the wheel
alone, in an empty folder, answers.

    python tools/release.py
"""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

PROJECT = Path(__file__).parents[1]
DIST = PROJECT / "dist"
SMOKE = """
import fewstep, sys
from pathlib import Path
assert Path(fewstep.__file__).is_relative_to(sys.argv[1]), fewstep.__file__
from fewstep.evaluation.features import check_features
from fewstep.reporting.report import render
check_features("digits")
from fewstep.serving.api import page
assert "<html" in render("title", "lead", []) and "num_images" in page()
"""


def version() -> str:
    """The version of pyproject.toml. Exits if another file has another one."""
    found = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["version"]
    places = {"src/fewstep/__init__.py": r'__version__ = "(.*)"', "CITATION.cff": r'^version: "?([^"\n]*)"?$'}
    for file, pattern in places.items():
        other = re.search(pattern, (PROJECT / file).read_text(), re.MULTILINE)
        if not other or other[1] != found:
            sys.exit(f"{file} must have the version {found} of pyproject.toml, got {other and other[1]}.")
    return found


def build(number: str) -> tuple[Path, Path]:
    """The wheel and the source distribution."""
    for old in (*DIST.glob("fewstep-*.whl"), *DIST.glob("fewstep-*.tar.gz")):
        old.unlink()
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", DIST, PROJECT]
    said = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if said.returncode:
        sys.exit(f"{said.stdout}\nthe packages cannot be built.")
    return next(DIST.glob(f"fewstep-{number}-*.whl")), DIST / f"fewstep-{number}.tar.gz"


def check_files(wheel: Path, source: Path) -> None:
    """Exits if a file of the package, as git has it, is missing in one of the archives."""
    listed = subprocess.run(["git", "ls-files", "src/fewstep"], cwd=PROJECT, capture_output=True, text=True, check=True)
    files = {name.removeprefix("src/") for name in listed.stdout.splitlines()}
    with ZipFile(wheel) as archive:
        missing = files - set(archive.namelist())
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2].removeprefix("src/") for name in archive.getnames()}
    if missing := missing | ((files | {"README.md", "LICENSE", "pyproject.toml"}) - names):
        sys.exit(f"missing in {wheel.name} or {source.name}: {', '.join(sorted(missing))}")


def check_wheel(wheel: Path, number: str) -> None:
    """Exits unless the wheel alone answers, with the packages of this environment."""
    with TemporaryDirectory() as folder:
        place = Path(folder).resolve() / "installed"
        install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", place, wheel]
        subprocess.run(install, check=True)
        environment = {**os.environ, "PYTHONPATH": str(place)}
        subprocess.run([sys.executable, "-c", SMOKE, place], cwd=folder, env=environment, check=True)
        command = [sys.executable, "-m", "fewstep", "--version"]
        said = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True).stdout
        if number not in said:
            sys.exit(f"the wheel says that it is {said.strip()}, not {number}.")


if __name__ == "__main__":
    number = version()
    wheel, source = build(number)
    check_files(wheel, source)
    check_wheel(wheel, number)
    print(f"{wheel.relative_to(PROJECT)} and {source.relative_to(PROJECT)} are whole, and the wheel works.")
