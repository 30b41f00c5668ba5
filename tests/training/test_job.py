"""The identity of a training."""

import shutil
from pathlib import Path

import pytest

import onestep
from onestep.training.job import code_hash


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the package that may be changed."""
    copy = shutil.copytree(Path(onestep.__file__).parent, tmp_path / "onestep", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(onestep, "__file__", str(copy / "__init__.py"))
    return copy


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("objectives/denoising.py", True),
        ("objectives/objective.py", True),
        ("training/loop.py", True),
        ("objectives/consistency_distillation.py", False),
        ("launch.py", False),
    ],
)
def test_code_that_counts_for_a_teacher(sources, file, counts):
    before = code_hash.__wrapped__("denoising")
    with (sources / file).open("a") as source:
        source.write("\n# changed\n")
    assert (code_hash.__wrapped__("denoising") != before) == counts
