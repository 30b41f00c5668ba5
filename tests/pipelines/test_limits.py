"""What a later stage could not do with data and parameters is said before the first one costs time."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from fewstep.data.space import DataSpace
from fewstep.data.store import write_store
from fewstep.pipeline_registry import register_pipelines
from fewstep.pipelines.limits import check_editing, check_labels, check_references, check_replacing, check_scores
from fewstep.support.errors import InvalidInput

PIPELINES = register_pipelines()
JOURNEY = PIPELINES["__default__"]
WITHOUT = "kedro run --pipelines=ingest,teacher,distill"


def store(folder, train, heldout=20, alike=False, labels=0):
    """Images of noise, all the same if they are to be alike."""
    images = np.random.default_rng(0).integers(0, 255, (train + heldout, 3, 8, 8)).astype("uint8")
    images[:] = images[:1] if alike else images
    space = DataSpace("cats", "images", images.shape[1:], 1.0, ("cat",))
    return write_store(folder / "store", images, np.full(len(images), labels), space, train=train)


def evaluation(levels="recipe"):
    return SimpleNamespace(levels=levels)


TOO_FEW = {
    "training images": (JOURNEY, {"train": 9}, "recipe", "scores need at least 10 images .* cats train on 9"),
    "different ones": (JOURNEY, {"train": 12, "alike": True}, "recipe", "at least 3 different images .* train on 1"),
    "to search by": (JOURNEY, {"train": 12, "heldout": 9}, "search", "evaluation.levels=search .* cats hold out 9"),
    "to compare by": (PIPELINES["compare"], {"train": 12, "heldout": 9}, "recipe", "a comparison searches .* out 9"),
    "to promote by": (PIPELINES["promote"], {"train": 9}, "recipe", "scores need at least 10 images"),
}


@pytest.mark.parametrize("pipeline, sizes, levels, words", TOO_FEW.values(), ids=TOO_FEW)
def test_too_few_images_are_said_with_a_way_on(pipeline, sizes, levels, words, tmp_path):
    images = store(tmp_path, **sizes)
    with pytest.raises(InvalidInput, match=words) as caught:
        check_scores(pipeline, images, evaluation(levels), WITHOUT)
    assert "--pipelines=ingest,teacher,distill" in str(caught.value) or "data.heldout" in str(caught.value)
    check_scores(PIPELINES["teacher"] + PIPELINES["distill"], images, evaluation(levels), WITHOUT)


def test_a_few_held_out_images_are_said_and_enough(tmp_path, capsys):
    check_scores(JOURNEY, store(tmp_path, 12, heldout=6), evaluation(), WITHOUT)
    assert "only 6 images of cats are held out" in capsys.readouterr().out


def test_images_without_a_label_are_named_before_a_training_by_labels(tmp_path):
    recipe = SimpleNamespace(name="cd", training=SimpleNamespace(labels=True))
    check_labels([recipe], store(tmp_path, 12))
    with pytest.raises(InvalidInput, match="cd: training.labels must be false, since 12 of the images of cats"):
        check_labels([recipe], store(tmp_path, 12, labels=-1))


EDITED = {
    "a factor": ({"superresolve": {"factor": 3}}, None, "cd", "factor must be a divisor of both 8 and 8"),
    "a source": ({}, "nowhere", "cd", "there is no nowhere"),
    "a student": ({}, None, "pd", "only consistency functions edit images, and pd is sampled with euler"),
}


@pytest.mark.parametrize("tasks, source, recipe, words", EDITED.values(), ids=EDITED)
def test_what_editing_could_not_do_is_said_before_a_training(tasks, source, recipe, words, typed_parameters):
    given = typed_parameters("base", recipe=recipe)
    editing, space = SimpleNamespace(tasks=tasks, source=source), DataSpace("cats", "images", (1, 8, 8), 1.0)
    with pytest.raises(InvalidInput, match=words):
        check_editing(JOURNEY + PIPELINES["edit"], editing, given.student, space)
    check_editing(JOURNEY, editing, given.student, space)
    check_editing(PIPELINES["edit"], given.editing, given.student, space)


def test_data_of_another_source_are_not_replaced_unasked(tmp_path):
    def ingested(**source):
        (tmp_path / "store.json").write_text(json.dumps({"source": source}))

    ingested(name="folder", path=str(tmp_path / "a"), resolution=16)
    check_replacing(tmp_path, {"name": "folder", "path": f"{tmp_path}/b/../a", "resolution": 32})
    for other in ({"name": "folder", "path": str(tmp_path / "b")}, {"name": "parquet", "train": "x"}):
        with pytest.raises(InvalidInput, match=r"holds the data of folder .*dataset=NAME.*fresh=true"):
            check_replacing(tmp_path, other)
    ingested(name="digits")
    check_replacing(tmp_path, {"name": "digits"})
    (tmp_path / "store.json").write_text("{")  # damaged: ingesting again is the way on
    check_replacing(tmp_path, {"name": "digits"})


def test_a_reference_that_does_not_fit_is_said_before_the_first_training(tmp_path):
    np.savez(tmp_path / "edm.npz", mu=np.zeros(3), sigma=np.eye(3))
    np.savez(tmp_path / "adm.npz", np.zeros((4, 9, 9, 3), np.uint8))
    space = DataSpace("cats", "images", (3, 8, 8), 1.0, ("cat",))

    def check(pipeline, *names, features="inception"):
        given = SimpleNamespace(reference=[str(tmp_path / name) for name in names], features=features)
        check_references(pipeline, given, space)

    check(JOURNEY, "edm.npz")
    check(PIPELINES["distill"], "absent.npz")  # it scores nothing
    for names, features, words in (
        (["edm.npz"], "classifier", "has statistics of inception features, and evaluation.features is classifier"),
        (["adm.npz"], "inception", r"is of images of \(3, 9, 9\), and cats are \(3, 8, 8\)"),
        (["absent.npz"], "inception", "there is no .*absent.npz"),
    ):
        with pytest.raises(InvalidInput, match=words):
            check(JOURNEY, *names, features=features)
