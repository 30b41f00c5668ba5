"""The identity of a training."""

import shutil
from pathlib import Path

import pytest

import fewstep
from fewstep.training.job import Job, code_hash
from fewstep.training.recipe import Recipe

RECIPE = {"name": "cd", "network": {"name": "unet"}, "preconditioning": {"name": "consistency"}, "levels": {2: [1.0]}}
RECIPE |= {"objective": {"name": "consistency_training"}, "training": {"images": 8, "progress_every": 2}}


def job_of(data="data", data_sha256="d" * 64, **recipe) -> Job:
    return Job(Recipe.from_json(RECIPE | recipe), data, data_sha256)


@pytest.fixture
def sources(tmp_path, monkeypatch):
    """A copy of the package that may be changed."""
    copy = shutil.copytree(Path(fewstep.__file__).parent, tmp_path / "fewstep", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(fewstep, "__file__", str(copy / "__init__.py"))
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


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"training": {"images": 9, "progress_every": 2}}, True),
        ({"seed": 1}, True),
        ({"data_sha256": "e" * 64}, True),
        ({"training": {"images": 8, "progress_every": 4}}, False),
        ({"levels": {2: [0.5]}}, False),
        ({"data": "elsewhere"}, False),
        ({"picture_nfe": (1, 2)}, False),
    ],
)
def test_what_the_weights_depend_on_names_the_run(changes, counts):
    assert (job_of(**changes).run_name != job_of().run_name) == counts
