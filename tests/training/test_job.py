"""The identity of a training."""

import json
from dataclasses import dataclass, fields, replace

import pytest

import fewstep
from fewstep.data import ingest
from fewstep.models.model import Model, build_function
from fewstep.models.spec import Provenance
from fewstep.objectives import objective_class, objective_names
from fewstep.objectives.consistency_training import ConsistencyTraining
from fewstep.objectives.denoising import Denoising
from fewstep.support.later import later
from fewstep.training.hyperparameters import TrainingSettings
from fewstep.training.job import Job, has_made
from fewstep.training.numerics import PARTS
from fewstep.training.recipe import Recipe

RECIPE = Recipe(
    "teacher",
    Denoising(),
    TrainingSettings(images=8, progress_every=2),
    {"name": "unet"},
    {"name": "edm"},
    picture_nfe=(1,),
)
JOB = Job(RECIPE, "data", "d" * 64)

PLACES = {  # of the integers, of a training by denoising
    "objective": (Denoising, "numerics"),
    **{part: (module, "NUMERICS") for part, module in PARTS.items()},
}


@pytest.mark.parametrize("part", PLACES)
def test_each_version_of_the_numerics_names_the_run(monkeypatch, part):
    before = JOB.run_name
    place, attribute = PLACES[part]
    monkeypatch.setattr(place, attribute, getattr(place, attribute) + 1)
    assert JOB.run_name != before and JOB.provenance.more["numerics"][part] == JOB.description["numerics"][part] == 2


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
    assert {key: job.provenance.more[key] for key in told} == told


@pytest.mark.parametrize(
    ("changes", "counts"),
    [
        ({"training": TrainingSettings(images=9, progress_every=2)}, True),
        ({"seed": 1}, True),
        ({"training": TrainingSettings(images=8, progress_every=4)}, False),
        ({"picture_nfe": (1, 3)}, False),
    ],
)
def test_what_the_weights_depend_on_names_the_run(changes, counts):
    assert (replace(JOB, recipe=replace(RECIPE, **changes)).run_name != JOB.run_name) == counts


def test_data_name_the_run_by_their_content_and_levels_do_not():
    assert replace(JOB, data="elsewhere").run_name == JOB.run_name != replace(JOB, data_sha256="e" * 64).run_name
    student = Recipe("ct", ConsistencyTraining(), TrainingSettings(images=8), {}, {"name": "consistency"})
    names = {Job(replace(student, levels={2: (level,)}), "data", "d" * 64).run_name for level in (0.5, 1.0)}
    assert len(names) == 1


LINEAGE = {"name": "ect", "sha256": "e" * 64, "run": "ect-1", "images": 5}


def test_an_earlier_model_names_the_run_by_its_content_and_is_told_whole():
    first, other = (replace(JOB, lineage=LINEAGE | changes) for changes in ({}, {"sha256": "f" * 64}))
    assert len({JOB.run_name, first.run_name, other.run_name}) == 3
    assert replace(first, earlier="elsewhere").run_name == first.run_name
    assert replace(JOB, lineage=LINEAGE | {"images": 6}).run_name == first.run_name, "weights are what counts"
    told = first.provenance
    assert Provenance.from_json(json.loads(json.dumps(told.to_json()))).earlier == told.earlier == LINEAGE
    assert [stage.run for stage in replace(told, start="earlier").stages] == ["ect-1", first.run_name]


NAMED = {"denoising": "denoising-2f78cdb3a306", "consistency_training": "consistency_training-2943eaba603f"}


@dataclass(frozen=True)
class LaterSettings(TrainingSettings):
    """Settings of a version to come."""

    foreach: str = later("none")


def test_a_setting_that_came_later_names_a_run_only_where_it_is_set():
    def name(training: TrainingSettings) -> str:
        return replace(JOB, recipe=replace(RECIPE, training=training)).run_name

    assert (
        name(LaterSettings(images=8))
        == name(TrainingSettings(images=8))
        != name(LaterSettings(images=8, foreach="all"))
    )


@pytest.mark.parametrize("method", [Denoising(), ConsistencyTraining()], ids=NAMED)
def test_a_new_setting_renames_no_training_of_before(method, monkeypatch):
    """Whoever adds a setting declares it by `later`, or its default changes what a training is called."""
    for place, attribute in (*((part, "NUMERICS") for part in PARTS.values()), (type(method), "numerics")):
        monkeypatch.setattr(place, attribute, 1)
    recipe = Recipe(method.name, method, TrainingSettings(), {"name": "unet"}, {"name": method.preconditioner})
    assert Job(recipe, "data", "d" * 64).run_name == NAMED[method.name]


@pytest.mark.slow
def test_a_chain_is_known_before_it_runs_and_recognises_what_it_made(typed_parameters, job_after, tmp_path):
    images = ingest({"name": "patches", "count": 64}, tmp_path / "patches")
    recipe = typed_parameters("test", recipe="cmt").student
    later_one = typed_parameters("test", recipe="cmt_ect").student
    taught = job_after(typed_parameters("test").teacher, images)
    spec = replace(taught.spec, provenance=taught.provenance)
    teacher = Model(build_function(spec, images.space), images.space, spec).save(tmp_path / "teacher")
    chain, alone = Job.chain_of(later_one, images, teacher), Job.chain_of(recipe, images, teacher)
    assert [job.name for job in chain] == ["cmt", "cmt_ect"]
    assert [job.run_name for job in alone] == [chain[0].run_name] == [Job.of(recipe, images, teacher).run_name]
    made = job_after(later_one, images, teacher)
    assert has_made(chain, made.provenance) and has_made(alone, Job.of(recipe, images, teacher).provenance)
    assert not has_made(alone, made.provenance) and not has_made(chain, alone[0].provenance)
    other = Job.chain_of(replace(later_one, earlier=replace(later_one.earlier, seed=1)), images, teacher)
    assert not has_made(other, made.provenance) and other[-1].run_name != chain[-1].run_name
    assert not has_made(Job.chain_of(replace(later_one, seed=1), images, teacher), made.provenance)
