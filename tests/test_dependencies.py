"""The locks: each file has its hash, nothing is installed without one, and the licences of all packages are known."""

import json
import re
import shutil
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import PackageMetadata, PackageNotFoundError, metadata
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from threading import Thread

import pytest
from packaging.markers import Marker

PROJECT = Path(__file__).parents[1]
LOCK, CPU, CUDA, EXTRAS = LOCKS = [PROJECT / f"requirements{part}.lock" for part in ("", "-cpu", "-cuda", "-extras")]
HASH = r"--hash=sha256:[0-9a-f]{64}"
ENTRY = re.compile(rf"^([\w.-]+)==([\w.!+]+)(?: ; ([^\\\n]+))?(?: \\\n    {HASH})+\n(?:    # via .*\n)?", re.MULTILINE)

# As the packages call them: by expression, by classifier, or in words.
PERMISSIVE = {
    *("0BSD", "BSD", "BSD License", "3-Clause BSD License", "BSD-2-Clause", "BSD-3-Clause", "BSL-1.0", "CC0-1.0"),
    *("Apache 2.0", "Apache License 2.0", "Apache Software License", "Apache Software License (Apache 2.0)"),
    *("Apache-2.0", "Apache-2.0 WITH LLVM-exception", "CNRI-Python", "ISC", "ISC License (ISCL)", "MIT", "MIT License"),
    *("MIT-0", "MIT-CMU", "MPL-2.0", "Mozilla Public License 2.0 (MPL 2.0)", "PSF-2.0", "Zlib", "Zope Public License"),
    "Python Software Foundation License",
}
OTHERS = {
    "asyncssh": "EPL-2.0, of two to choose from; a library of DVC, which runs as a program of its own",
    "cookiecutter": "BSD-3-Clause in its LICENSE file, no word in its metadata",
    "dulwich": "Apache-2.0, of two to choose from",
    "grandalf": "EPL-1.0, of two to choose from; a library of DVC",
    "huey": "MIT in its LICENSE file, no word in its metadata",
    "pygit2": "GPL-2.0 with an exception for whatever is linked to it; a library of DVC",
    "skops": "MIT in its LICENSE file, no word in its metadata",
    "text-unidecode": "Artistic License, of two to choose from; a library of Kedro's templates",
}


def pins(lock: Path) -> dict[str, str]:
    """{package: version} of a lock, as far as they are for this platform."""
    found = ENTRY.findall(lock.read_text())
    return {name: version for name, version, marker in found if not marker or Marker(marker).evaluate()}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_every_package_has_one_version_and_the_hashes_of_its_files(lock):
    head, rest = lock.read_text().split("\n", 1)
    assert head.startswith("#") and ENTRY.search(rest)
    assert ENTRY.sub("", rest) == ""


def test_no_package_is_in_two_locks_but_pytorch_of_one_release():
    names = [name for lock in (LOCK, CUDA, EXTRAS) for name, *_ in ENTRY.findall(lock.read_text())]
    assert sorted(set(names)) == sorted(names)
    assert pins(CPU) == {"torch": f"{pins(LOCK)['torch']}+cpu"}


@pytest.mark.parametrize("cuda", [False, True])
def test_make_installs_by_hash_and_pytorch_with_what_it_needs(cuda, tmp_path):
    """Make's own commands, with a pip that writes down what it is asked for.

    cuda: pip finds no build of PyTorch without CUDA.
    """
    for file in ("pyproject.toml", *(lock.name for lock in LOCKS)):
        (tmp_path / file).touch()
    shutil.copy(PROJECT / "Makefile", tmp_path)
    pip, torch = tmp_path / ".venv/bin/pip", tmp_path / ".venv/lib/python3.11/site-packages/torch-2.13.0.dist-info"
    torch.mkdir(parents=True)
    pip.parent.mkdir()
    (torch / "METADATA").write_text("Requires-Dist: sympy\n" + "Requires-Dist: nvidia-nvtx\n" * cuda)
    pip.write_text('#!/bin/sh\necho "$@" >> asked\n' + f'case "$@" in *{CPU.name}) exit 1;; esac\n' * cuda)
    pip.chmod(0o755)
    subprocess.run(["make", "PYTHON=true", ".venv/extras"], cwd=tmp_path, capture_output=True, check=True)
    *locked, ours, extras = (tmp_path / "asked").read_text().splitlines()
    for asked, lock in zip([*locked, extras], [CPU, LOCK, *[CUDA] * cuda, EXTRAS], strict=True):
        assert asked.endswith(f" --no-deps --require-hashes --requirement {lock.name}")
    assert ours.endswith(" --no-deps --no-build-isolation --editable .")


@pytest.mark.slow
def test_what_is_installed_is_what_the_lock_says_and_all_that_is_needed():
    """pip installs a lock without a look at what its packages need."""
    for name, version in pins(LOCK).items():
        assert metadata(name)["Version"].partition("+")[0] == version, name
    said = subprocess.run([sys.executable, "-m", "pip", "check"], capture_output=True, text=True)
    assert said.returncode == 0, said.stdout


def licences(package: PackageMetadata) -> set[str]:
    """Its licences: what its expression is made of, or its classifiers, or else the first line in words."""
    if expression := package.get("License-Expression"):
        return set(re.split(r" AND | OR |[()]", expression)) - {""}
    classifiers = [
        each.split(" :: ")[-1] for each in package.get_all("Classifier", []) if each.startswith("License ::")
    ]
    named = set(classifiers) - {"OSI Approved"}
    return named or set(re.split(" AND ", (package.get("License") or "no word").splitlines()[0]))


def test_each_licence_is_known():
    """CUDA's libraries are not asked: NVIDIA's own terms hold for them."""
    found, missing = {}, set()
    for name in {**pins(LOCK), **pins(EXTRAS)}:
        try:
            found[name] = licences(metadata(name))
        except PackageNotFoundError:
            missing.add(name)
    assert missing <= set(pins(EXTRAS))
    unknown = {name: named - PERMISSIVE for name, named in found.items() if named - PERMISSIVE}
    assert {name: named for name, named in unknown.items() if name not in OTHERS} == {}
    assert set(OTHERS) - missing == set(unknown)


def made(target: str) -> subprocess.CompletedProcess[str]:
    """What make says of a target, in this environment as it is."""
    pytest.importorskip("cyclonedx_py", reason="of requirements-extras.lock")
    return subprocess.run(["make", "--assume-old=.venv/extras", target], cwd=PROJECT, capture_output=True, text=True)


@pytest.mark.check
def test_make_sbom_lists_what_is_locked_with_its_hashes():
    said = made("sbom")
    assert said.returncode == 0, said.stderr
    listed = json.loads((PROJECT / "dist" / "sbom.json").read_text())
    assert listed["metadata"]["component"]["name"] == "fewstep"
    found = {
        (part["name"], part["version"]): {each["content"] for each in part["externalReferences"][0]["hashes"]}
        for part in listed["components"]
    }
    entries = [match for lock in (LOCK, CUDA) for match in ENTRY.finditer(lock.read_text())]
    assert found == {entry.group(1, 2): set(re.findall(r"sha256:(\w+)", entry[0])) for entry in entries}


@pytest.mark.check
def test_make_audit_knows_of_no_vulnerability():
    said = made("audit")
    if "not found on PyPI" in said.stderr or "Connection" in said.stderr:
        pytest.skip("PyPI's list of vulnerabilities cannot be reached.")
    assert said.returncode == 0, said.stdout + said.stderr


WITHOUT_CUDA = "torch==2.13.0+cpu" + "".join(f" \\\n    --hash=sha256:{digit * 64}" for digit in "12") + "\n"


@pytest.fixture
def writer(tmp_path, monkeypatch):
    """tools/lock.py, with an index of PyTorch's builds without CUDA that has two files, of hashes 1... and 2..."""
    pytest.importorskip("uv", reason="of requirements-extras.lock")
    (folder := tmp_path / "torch").mkdir()
    page = "<!DOCTYPE html><html><body>"
    for digit, kind in (("1", "win_amd64"), ("2", "manylinux_2_28_x86_64")):
        wheel = f"torch-2.13.0+cpu-cp311-cp311-{kind}.whl"
        page += f'<a href="{wheel}#sha256={digit * 64}" data-core-metadata="true">{wheel}</a>'
        (folder / f"{wheel}.metadata").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 2.13.0+cpu\n")
    (folder / "index.html").write_text(page + "</body></html>")
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        spec = spec_from_file_location("lock", PROJECT / "tools" / "lock.py")
        spec.loader.exec_module(module := module_from_spec(spec))
        monkeypatch.setattr(module, "CPU_INDEX", f"http://127.0.0.1:{server.server_port}")
        yield module
        server.shutdown()


@pytest.mark.check
def test_the_lock_has_each_build_of_pytorch_without_cuda(writer):
    assert writer.without_cuda("torch==2.13.0 \\\n") == [WITHOUT_CUDA]


@pytest.mark.check
def test_the_lock_of_this_release_stays_while_pytorchs_index_does_not_answer(writer, monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(writer, "CPU_INDEX", "http://127.0.0.1:9")
    monkeypatch.setattr(writer, "CPU", tmp_path / "requirements-cpu.lock")
    writer.CPU.write_text(writer.HEAD + WITHOUT_CUDA)
    assert writer.without_cuda("torch==2.13.0 \\\n") == [WITHOUT_CUDA]
    assert "does not answer: requirements-cpu.lock stays as it is." in capsys.readouterr().out
    with pytest.raises(subprocess.CalledProcessError):
        writer.without_cuda("torch==2.14.0 \\\n")
