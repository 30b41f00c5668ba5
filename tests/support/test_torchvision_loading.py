"""torchvision loads, in a fresh process, whatever torch stands beside it."""

import subprocess
import sys

import pytest
import torch

from fewstep.support import torchvision_loading as torchvision_ops

pytestmark = pytest.mark.slow


def run(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


@pytest.mark.slow
def test_torchvision_imports_and_transforms_in_a_fresh_process():
    code = (
        "import torch; from fewstep.support.torchvision_loading import import_torchvision, ensure_torchvision_loads\n"
        "ensure_torchvision_loads(); ensure_torchvision_loads(); vision = import_torchvision()\n"
        "assert vision is import_torchvision()\n"
        "assert vision.transforms.functional.hflip(torch.tensor([[[1, 2]]])).tolist() == [[[2, 1]]]"
    )
    result = run(code)
    assert result.returncode == 0, result.stderr


def test_nothing_is_declared_where_the_extension_loads(monkeypatch):
    def no_declaration(*_):
        raise AssertionError("declared beside a working extension")

    monkeypatch.setattr(torchvision_ops, "_extension_loads", lambda _: True)
    monkeypatch.setattr(torch.library, "Library", no_declaration)
    torchvision_ops.ensure_torchvision_loads()


def test_a_package_without_a_loadable_extension_is_seen(tmp_path):
    assert not torchvision_ops._extension_loads(tmp_path)
    (tmp_path / "_C.so").write_bytes(b"not a library")
    assert not torchvision_ops._extension_loads(tmp_path)
