"""The identity of a training."""

from dataclasses import fields, replace

import pytest

import fewstep
from fewstep.objectives import objective_class, objective_names
from fewstep.objectives.denoising import Denoising
from fewstep.training.job import Job
from fewstep.training.numerics import PARTS

JOB = Job("cd", "data", "d" * 64, {}, {}, {"name": "denoising"}, {"images": 8, "progress_every": 2}, levels={2: [1.0]})


PLACES = {  # of the integers, of a training by denoising
    "objective": (Denoising, "numerics"),
    **{part: (module, "NUMERICS") for part, module in PARTS.items()},
}


@pytest.mark.parametrize("part", PLACES)
def test_each_version_of_the_numerics_names_the_run(monkeypatch, part):
    before = JOB.run_name
    place, attribute = PLACES[part]
    monkeypatch.setattr(place, attribute, getattr(place, attribute) + 1)
    assert JOB.run_name != before and JOB.provenance["numerics"][part] == JOB.description["numerics"][part] == 2


def test_another_methods_version_does_not_name_the_run(monkeypatch):
    before = JOB.run_name
    monkeypatch.setattr(objective_class("consistency_distillation"), "numerics", 2)
    assert JOB.run_name == before


@pytest.mark.parametrize("name", objective_names())
def test_every_method_has_a_version_of_its_own(name):
    method = objective_class(name)
    assert isinstance(vars(method)["numerics"], int) and "numerics" not in {f.name for f in fields(method)}


def test_who_writes_is_told_and_names_nothing():
    job = replace(JOB, written_by={"git_commit": "c" * 40, "git_dirty": "true"}, other_numerics=True)
    assert job.run_name == JOB.run_name
    told = {"git_commit": "c" * 40, "git_dirty": "true", "fewstep": fewstep.__version__}
    assert {key: job.provenance[key] for key in told} == told


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
    assert (replace(JOB, **changes).run_name != JOB.run_name) == counts
