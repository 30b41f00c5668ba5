"""Write the locks: each package that pyproject.toml leads to, at one version, with the hash of every file it comes as.

requirements.lock         what the project and its tests need on Linux, macOS and Windows
requirements-cuda.lock    the CUDA libraries that PyTorch's build for Linux on PyPI needs besides
requirements-extras.lock  what the extras and `make check` need besides

    python tools/lock.py              # after a change of pyproject.toml; other packages keep their versions
    python tools/lock.py --upgrade    # every package at the newest version that fits

uv finds the versions. It asks PyPI, and PyTorch's own index for the hashes of the builds of PyTorch without CUDA.
"""

import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

PROJECT = Path(__file__).parents[1]
LOCK, CUDA, EXTRAS = LOCKS = [PROJECT / f"requirements{part}.lock" for part in ("", "-cuda", "-extras")]
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


def compiled(known: list[str], source: str | Path, *options: str) -> list[str]:
    """The entries that a file of requirements leads to, at the versions of known entries as far as these fit."""
    with TemporaryDirectory() as folder:
        (lock := Path(folder, "lock")).write_text("".join(known))
        command = [sys.executable, *UV, *FORM, "--output-file", lock, *options, source]
        subprocess.run(command, cwd=PROJECT, check=True)
        return entries(lock.read_text())


def with_cpu_builds(torch: str, former: list[str]) -> str:
    """PyTorch's entry with the hashes of its builds without CUDA, too: pip takes one where its indexes have one.

    former: the entries of the present locks, whose hashes stay where PyTorch's index does not answer.
    """
    pin = torch.split()[0]
    try:
        with TemporaryDirectory() as folder:
            (wanted := Path(folder, "torch.in")).write_text(f"{pin}+cpu\n")
            found = compiled([], wanted, "--no-deps", f"--default-index={CPU_INDEX}")
    except subprocess.CalledProcessError:
        found = [entry for entry in former if entry.split()[0] == pin]
        if not found:
            raise
        print(f"{CPU_INDEX} does not answer: {pin} keeps the hashes that it has.")
    hashes = sorted(set(re.findall(r"--hash=\S+", torch + found[0])))
    return " \\\n    ".join([pin, *hashes]) + "\n" + "".join(re.findall(r"^    #.*\n", torch, re.MULTILINE))


def main(upgrade: bool) -> None:
    former = [entry for lock in LOCKS for entry in entries(lock.read_text())]
    known = [] if upgrade else former
    needed = compiled(known, "pyproject.toml", "--extra=test")
    torch = [name(entry) for entry in needed].index("torch")
    needed[torch] = with_cpu_builds(needed[torch], former)
    cuda = [entry for entry in needed if name(entry).startswith(CUDA_LIBRARIES)]
    LOCK.write_text(HEAD + "".join(entry for entry in needed if entry not in cuda))
    CUDA.write_text(HEAD + "".join(cuda))
    extras = ["--extra=test", "--extra=export", "--extra=demo", "--group=check", f"--constraint={LOCK.name}"]
    more = compiled(known, "pyproject.toml", *extras)
    EXTRAS.write_text(HEAD + "".join(entry for entry in more if name(entry) not in set(map(name, needed))))


if __name__ == "__main__":
    main("--upgrade" in sys.argv[1:])
