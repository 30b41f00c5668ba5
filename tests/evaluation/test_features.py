import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from fewstep.data import expected_space
from fewstep.evaluation.features import make_extractor, open_extractor, sources
from fewstep.evaluation.features.choice import CHOICE, check_choice, check_extractor, choose_extractor, open_choice
from fewstep.evaluation.features.classifier import accuracy
from fewstep.evaluation.features.sources import SHIPPED
from fewstep.evaluation.scores import Reference, score_images
from fewstep.support.errors import InvalidInput


@pytest.fixture
def tiny_store():
    """200 colour images of two classes, bright above and bright below, as make_extractor sees a store."""
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    images = rng.integers(0, 100, (200, 3, 8, 8)).astype(np.uint8)
    images[labels == 0, :, :4] += 120
    images[labels == 1, :, 4:] += 120
    parts = {"train": slice(0, 150), "heldout": slice(150, 200)}
    space = SimpleNamespace(name="halves", kind="images", shape=(3, 8, 8))
    return SimpleNamespace(
        space=space, sha256="abc", images=lambda split: images[parts[split]], labels=lambda split: labels[parts[split]]
    )


def test_the_shipped_extractor_knows_digits_that_it_never_saw(extractor, digits):
    heldout = digits.images("heldout"), digits.labels("heldout")
    assert extractor.record["data_sha256"] == digits.sha256
    assert accuracy(extractor.network, *heldout) == pytest.approx(extractor.record["heldout_accuracy"], abs=1e-4)
    assert extractor.record["heldout_accuracy"] >= 0.97
    assert (SHIPPED / "digits.safetensors").stat().st_size < 100_000


def test_features_do_not_depend_on_the_batch(extractor, digits):
    images = digits.images("heldout")[:50]
    torch.testing.assert_close(
        extractor(images, batch_size=7).features, extractor(images).features, rtol=1e-4, atol=1e-4
    )


def test_made_once_and_opened_again(tiny_store, tmp_path, monkeypatch):
    made = make_extractor(tiny_store, tmp_path / "extractor")
    assert made.record["heldout_accuracy"] > 0.95
    assert (made.name, made.shape, made.has_classes) == ("halves", (3, 8, 8), True)
    monkeypatch.setattr(sources, "train_classifier", None)
    assert make_extractor(tiny_store, tmp_path / "extractor").sha256 == made.sha256
    assert open_extractor(tmp_path / "extractor").sha256 == made.sha256


def test_other_data_get_another_extractor(tiny_store, tmp_path):
    first = make_extractor(tiny_store, tmp_path)
    tiny_store.sha256 = "def"
    again = make_extractor(tiny_store, tmp_path)
    assert (first.record["data_sha256"], again.record["data_sha256"]) == ("abc", "def")


def test_without_labels_it_learns_rotations_and_says_so(tiny_store, tmp_path):
    tiny_store.labels = lambda split: np.full(len(tiny_store.images(split)), -1)
    made = make_extractor(tiny_store, tmp_path)
    assert made.record["task"] == "rotations"
    assert not made.has_classes
    images = tiny_store.images("train")
    assert "is_halves" not in score_images(images, Reference.of(images, made), made)


def test_points_have_no_extractor(tiny_store, tmp_path):
    tiny_store.space.kind = "points"
    with pytest.raises(ValueError, match="^only images have features, and the data set .* has points"):
        make_extractor(tiny_store, tmp_path)


def test_a_data_set_is_not_called_as_a_pretrained_network_is(tiny_store, tmp_path):
    tiny_store.space.name = "dinov2-vit-s-14"
    with pytest.raises(ValueError, match="must not be called dinov2-vit-s-14"):
        make_extractor(tiny_store, tmp_path)


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ValueError, match=r"'digit'.*'digits'.*inception"):
        open_extractor("digit")


def test_an_extractor_of_other_images_is_refused_when_it_is_chosen(tiny_store, tmp_path):
    tiny_store.space.shape = (3, 16, 16)
    with pytest.raises(ValueError, match=r"digits takes images of \(1, 8, 8\).*evaluation.features=classifier"):
        choose_extractor(tiny_store, "digits", None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_before_there_are_data_an_extractor_is_held_to_what_is_known_of_them():
    patches, moons = {"name": "patches", "count": 16}, {"name": "moons"}
    with pytest.raises(ValueError, match=r"digits takes images of \(1, 8, 8\), and mine are \(3, 16, 16\)"):
        check_extractor("digits", None, expected_space(patches, "mine"))
    for missing in (expected_space(patches, "mine"), None):
        with pytest.raises(ValueError, match="Inception features need the file .*: put it at nowhere.pth"):
            check_extractor("inception", "nowhere.pth", missing)
    check_extractor("digits", None, None)
    check_extractor("classifier", None, expected_space(patches, "mine"))
    check_extractor("inception", "nowhere.pth", expected_space(moons, "mine"))  # points have no features


@pytest.mark.parametrize("damage", ["weights", "record", "gone"])
def test_damaged_files_are_named(tmp_path, damage):
    weights, record = tmp_path / "extractor.safetensors", tmp_path / "extractor.json"
    shutil.copy(SHIPPED / "digits.safetensors", weights)
    shutil.copy(SHIPPED / "digits.json", record)
    if damage == "weights":
        weights.write_bytes(weights.read_bytes()[:-4] + b"0000")
    elif damage == "record":
        record.write_text(json.dumps({**json.loads(record.read_text()), "num_classes": 11}))
    else:
        weights.unlink()
    with pytest.raises(ValueError, match="damaged"):
        open_extractor(tmp_path)


@pytest.mark.parametrize(
    "images", [np.zeros((2, 1, 8, 8)), np.zeros((2, 3, 8, 8), np.uint8), np.zeros((8, 8), np.uint8)]
)
def test_other_images_are_refused(extractor, images):
    with pytest.raises(ValueError, match=r"uint8 \[N, 1, 8, 8\]"):
        extractor(images)


def test_a_choice_without_labels_is_said(tiny_store, tmp_path):
    assert choose_extractor(tiny_store, "classifier", None, tmp_path / "labels") == ""
    tiny_store.labels = lambda split: np.full(len(tiny_store.images(split)), -1)
    assert "self-supervised" in choose_extractor(tiny_store, "classifier", None, tmp_path / "none")


@pytest.mark.parametrize("text", ["", '{"features": "cl', "{}", "[]", '{"features": 5, "weights": null}'])
def test_a_choice_that_says_nothing_is_named(text, tmp_path):
    (tmp_path / CHOICE).write_text(text)
    for read in (open_choice, lambda folder: check_choice(folder, "classifier", None)):
        with pytest.raises(InvalidInput, match=r"choice.json does not say .*kedro run --pipelines=ingest"):
            read(tmp_path)


@pytest.mark.parametrize("change", [{"task": None}, {"name": 5}, {"data_sha256": []}, {"num_classes": 20_000_000}])
@pytest.mark.parametrize("left_out", [False, True])
def test_a_record_of_a_classifier_is_checked(change, left_out, tmp_path):
    for suffix in (".json", ".safetensors"):
        shutil.copy(SHIPPED / f"digits{suffix}", tmp_path / f"extractor{suffix}")
    record = json.loads((file := tmp_path / "extractor.json").read_text()) | change
    if left_out:
        del record[next(iter(change))]
    file.write_text(json.dumps(record))
    with pytest.raises(InvalidInput, match=f"is damaged .*{next(iter(change))}.*Make it again"):
        open_extractor(tmp_path)
