"""What belongs together is checked by one table: every pair of it is refused in words where hashes differ."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from fewstep.models.model import SavedModel
from fewstep.models.spec import ModelSpec, Provenance
from fewstep.pipelines.agreement import LINKS, check_together, disagreements, is_linked
from fewstep.pipelines.datasets import FolderDataset
from fewstep.support.errors import InvalidInput

DATA, TEACHER, STUDENT, EXTRACTOR = "d" * 64, "7" * 64, "5" * 64, "e" * 64


@dataclass
class Catalog:
    """As much of Kedro's as messages need."""

    parameters: dict = field(default_factory=dict)

    def get(self, name):
        return FolderDataset(str(Path("data") / name))

    def exists(self, name):
        return name in self.parameters

    def load(self, name):
        return {"params:env": "images", **self.parameters}[name]


SPACE, OTHER_SPACE = (SimpleNamespace(encoding=encoding) for encoding in ("a" * 64, "b" * 64))


def model(name, sha256, teacher=None, **provenance) -> SavedModel:
    made_by = Provenance(teacher_sha256=teacher, **provenance)
    return SavedModel(Path(name), SPACE, ModelSpec(name, {}, {}, data_sha256=DATA, provenance=made_by), sha256)


def scores(**models):
    measured = SimpleNamespace(data_sha256=DATA, extractor_sha256=EXTRACTOR)
    rows = [
        SimpleNamespace(model="cd", nfe=2, levels=(80.0, 0.8)),
        SimpleNamespace(model="teacher", nfe=2, levels=(80.0, 9.0)),
    ]
    return SimpleNamespace(measurement=measured, models=models, budget="640 images", rows=rows)


def whole() -> dict:
    """A project in which everything belongs together."""
    both = {"cd": STUDENT, "teacher": TEACHER}
    return {
        "images": SimpleNamespace(sha256=DATA),
        "latents": SimpleNamespace(images_sha256=DATA, space=SPACE),
        "extractor": SimpleNamespace(sha256=EXTRACTOR, data_sha256=DATA),
        "teacher": model("teacher", TEACHER),
        "student": model("cd", STUDENT, TEACHER),
        "levels": SimpleNamespace(model_sha256=STUDENT, levels={2: [0.8]}),
        "scores": scores(**both),
        "sampler_scores": scores(**both),
        "report": f"<p>{STUDENT}</p>",
        "reference_contest": scores(teacher=TEACHER),
        "cd_contestant": model("cd", STUDENT, TEACHER),
        "cd_contest": scores(cd=STUDENT),
    }


OTHER = "0" * 64
OTHERS = {  # {name: another of its kind}, whatever part of it another dataset speaks of
    "images": SimpleNamespace(sha256=OTHER),
    "latents": SimpleNamespace(images_sha256=DATA, space=OTHER_SPACE),
    "extractor": SimpleNamespace(sha256=OTHER, data_sha256=DATA),
    "teacher": model("teacher", OTHER),
    "levels": SimpleNamespace(model_sha256=STUDENT, levels={2: [0.7]}),
    "student": model("cd", OTHER, TEACHER),
    "reference_contest": SimpleNamespace(**vars(scores(teacher=TEACHER)) | {"budget": "9 steps"}),
    "cd_contestant": model("cd", OTHER, TEACHER),
}
PAIRS = [(link.of.replace("*", "cd"), link.to.replace("*", "cd")) for link in LINKS]


def test_what_belongs_together_passes():
    assert disagreements(whole()) == []
    check_together(whole(), Catalog())


@pytest.mark.parametrize("of, to", PAIRS, ids="-".join)
def test_every_pair_of_the_table_is_refused_where_hashes_differ(of, to):
    """The two alone, beside what the first needs to be of a teacher at all."""
    found = {name: it for name, it in whole().items() if name in (of, to)} | {to: OTHERS[to]}
    with pytest.raises(InvalidInput) as caught:
        check_together(found, Catalog(), {"dataset": "cats"})
    said = str(caught.value)
    assert said.startswith(f"data/{of} ") and f"data/{to}" in said and "To make what does not belong anew: " in said
    assert "kedro run --env=images --pipelines=" in said and "--params=dataset=cats" in said
    assert disagreements(found | {to: whole()[to]}) == []


def test_the_table_knows_of_every_dataset_that_carries_hashes():
    """Whatever the catalog keeps that is a model, scores, levels, features, a record or a report."""
    import yaml

    catalog = yaml.safe_load((Path(__file__).parents[2] / "conf/base/catalog.yml").read_text())
    free = {
        "metrics",
        "registration",
        "promotions",
        "edits",
        "leaderboard",
        "runs",
        "tracking",
        "registry",
        "encoded",
    }  # outputs, and places
    pictures = ("PictureDataset", "PicturesDataset")
    kept = {
        name.replace("{recipe}", "cd")
        for name, entry in catalog.items()
        if not name.startswith("_") and not entry["type"].endswith(pictures)
    }
    assert {name for name in kept if not is_linked(name)} == free


def test_the_command_makes_all_that_does_not_belong_in_order():
    with pytest.raises(InvalidInput, match=r"anew: kedro run --env=images --pipelines=teacher,distill,evaluate$"):
        check_together(
            {n: whole()[n] for n in ("scores", "student", "teacher")} | {"images": OTHERS["images"]}, Catalog()
        )


def test_features_of_other_images_are_made_alone():
    found = {"images": OTHERS["images"], "extractor": whole()["extractor"]}
    with pytest.raises(InvalidInput, match=r"--pipelines=ingest --nodes=make_extractor$"):
        check_together(found, Catalog())
    check_together(
        found | {"extractor": SimpleNamespace(sha256=EXTRACTOR, data_sha256=None)}, Catalog()
    )  # one that ships


def test_a_teacher_that_nothing_is_made_of_may_be_of_other_images():
    alone = model("ict", STUDENT)
    other = replace(whole()["teacher"], spec=replace(whole()["teacher"].spec, data_sha256=OTHER))
    assert disagreements({"images": whole()["images"], "teacher": other, "student": alone}) == []
    recipe = SimpleNamespace(needs_teacher=False)
    assert disagreements({"images": whole()["images"], "teacher": other, "params:student": recipe}) == []
    recipe = SimpleNamespace(needs_teacher=True)
    assert disagreements({"images": whole()["images"], "teacher": other, "params:student": recipe}) != []


def test_a_teacher_of_other_images_is_taken_where_that_is_wanted_and_said(capsys):
    other = replace(whole()["teacher"], spec=replace(whole()["teacher"].spec, data_sha256=OTHER))
    found = {"images": whole()["images"], "teacher": other}
    with pytest.raises(InvalidInput, match="was trained on other images than"):
        check_together(found, Catalog({"params:teacher_of_other_data": False}))
    check_together(found, Catalog({"params:teacher_of_other_data": True}))
    assert "data/teacher was trained on other images than data/images" in capsys.readouterr().out


def test_a_student_without_its_teacher_is_refused():
    with pytest.raises(InvalidInput, match="data/student had another teacher than data/teacher, which is not there"):
        check_together({"student": whole()["student"], "teacher": None}, Catalog())


def test_an_imported_model_of_unknown_data_passes_and_one_of_other_data_is_imported_again():
    elsewhere = model("teacher", TEACHER, source="edm.pkl")
    unknown = replace(elsewhere, spec=replace(elsewhere.spec, data_sha256=None))
    assert disagreements({"images": OTHERS["images"], "teacher": unknown}) == []
    with pytest.raises(InvalidInput, match="came from elsewhere: import it again, beside these images"):
        check_together({"images": OTHERS["images"], "teacher": elsewhere}, Catalog())
