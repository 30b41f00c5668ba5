"""Write the locks: each package that pyproject.toml leads to, at one version, with the hash of every file it comes as.

requirements.lock         what the project and its tests need on Linux, macOS and Windows
requirements-cpu.lock     PyTorch without CUDA: its builds for Linux and Windows that PyTorch's own index has
requirements-cuda.lock    the CUDA libraries that PyTorch's build for Linux on PyPI needs besides
requirements-extras.lock  what the extras, `make check` and `make docs` need besides

    python tools/lock.py              # after a change of pyproject.toml; other packages keep their versions
    python tools/lock.py --upgrade    # every package at the newest version that fits

uv finds the versions. It asks PyPI, and PyTorch's index for the builds without CUDA.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[1]
LOCK, CPU, CUDA, EXTRAS = (PROJECT / f"requirements{part}.lock" for part in ("", "-cpu", "-cuda", "-extras"))
CPU_INDEX = "https://download.pytorch.org/whl/cpu"
CUDA_LIBRARIES = ("cuda-", "nvidia-", "triton")
UV = ["-m", "uv", "pip", "compile", "--quiet", "--universal", "--python-version=3.11", "--generate-hashes"]
FORM = ["--annotation-style=line", "--no-header", "--no-emit-package=pip"]  # a virtual environment brings pip
HEAD = "# Written by tools/lock.py (make lock).\n"


def entries(lock: str) -> list[str]:
    """The entries of a lock: a pin, its hashes, and which packages ask for it."""
    return re.split(r"^(?=\w)", lock, flags=re.MULTILINE)[1:]


def name(entry: str) -> str:
    return re.match(r"[\w.-]+", entry)[0]


def compiled(known: list[str], source: str, *options: str, given: str | None = None) -> list[str]:
    """The entries that a file of requirements leads to, at the versions of known entries as far as these fit.

    source: `-` is what is given.
    """
    with TemporaryDirectory() as folder:
        (lock := Path(folder, "lock")).write_text("".join(known))
        command = [sys.executable, *UV, *FORM, "--output-file", lock, *options, source]
        subprocess.run(command, cwd=PROJECT, check=True, input=given, text=True)
        return entries(lock.read_text())


def without_cuda(torch: str) -> list[str]:
    """The entry of PyTorch's builds without CUDA, of the release that an entry has.

    The present lock keeps it where PyTorch's index does not answer.
    """
    pin = f"{torch.split()[0]}+cpu"
    try:
        return compiled([], "-", "--no-annotate", "--no-deps", f"--default-index={CPU_INDEX}", given=pin)
    except subprocess.CalledProcessError:
        present = entries(CPU.read_text())
        if [entry.split()[0] for entry in present] != [pin]:
            raise
        print(f"{CPU_INDEX} does not answer: {CPU.name} stays as it is.")
        return present


def main(upgrade: bool) -> None:
    known = [] if upgrade else [entry for lock in (LOCK, CUDA, EXTRAS) for entry in entries(lock.read_text())]
    needed = compiled(known, "pyproject.toml", "--extra=test")
    CPU.write_text(HEAD + "".join(without_cuda(next(entry for entry in needed if name(entry) == "torch"))))
    cuda = [entry for entry in needed if name(entry).startswith(CUDA_LIBRARIES)]
    LOCK.write_text(HEAD + "".join(entry for entry in needed if entry not in cuda))
    CUDA.write_text(HEAD + "".join(cuda))
    groups = [f"--extra={extra}" for extra in ("test", "export", "demo", "hub", "optuna")] + [
        "--group=check",
        "--group=docs",
    ]
    more = compiled(known, "pyproject.toml", *groups, f"--constraint={LOCK.name}")
    EXTRAS.write_text(HEAD + "".join(entry for entry in more if name(entry) not in set(map(name, needed))))


if __name__ == "__main__":
    main("--upgrade" in sys.argv[1:])
