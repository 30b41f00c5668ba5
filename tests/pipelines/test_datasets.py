"""Datasets: what the catalog keeps, whole or not at all, and how `kedro viz` shows it."""

import base64
import inspect
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import yaml
from kedro.io import DataCatalog, DatasetError, MemoryDataset
from PIL import Image

from fewstep.data import ingest
from fewstep.data.space import DataSpace
from fewstep.evaluation.features.choice import CHOICE
from fewstep.evaluation.student_levels import StudentLevels
from fewstep.launch import LaunchSettings
from fewstep.pipelines.datasets import (
    ExtractorDataset,
    JSONFileDataset,
    ModelDataset,
    PageDataset,
    PictureDataset,
    PicturesDataset,
    StoreDataset,
    TypedJSONDataset,
    WorkplaceDataset,
)
from fewstep.tracking import TrackingSettings

CATALOG = yaml.safe_load((Path(__file__).parents[2] / "conf/base/catalog.yml").read_text())
KEPT = [name for name, entry in CATALOG.items() if "data/" in str(entry)]


@pytest.mark.parametrize("name", KEPT)
def test_a_dataset_is_drawn_in_the_layer_of_its_folder(name):
    assert CATALOG[name]["metadata"]["kedro-viz"]["layer"] == CATALOG[name]["filepath"].split("/")[1]


def test_a_picture_is_shown(tmp_path):
    dataset = PictureDataset(filepath=str(tmp_path / "a.png"))
    dataset.save(Image.new("RGB", (3, 2), "red"))
    with Image.open(BytesIO(base64.b64decode(dataset.preview()))) as shown:
        assert (shown.size, shown.getpixel((0, 0))) == ((3, 2), (255, 0, 0))
    assert inspect.signature(dataset.preview).return_annotation.__name__ == "ImagePreview"


def levels_of(filepath, **options):
    return TypedJSONDataset("fewstep.evaluation.student_levels.StudentLevels", filepath=str(filepath), **options)


@pytest.mark.parametrize("kind", [ModelDataset, PageDataset, levels_of])
def test_what_is_not_there_is_none_where_it_is_optional(kind, tmp_path):
    place = str(tmp_path / "x")
    assert kind(filepath=place, optional=True).load() is None
    assert not kind(filepath=place).exists()
    with pytest.raises(DatasetError):
        kind(filepath=place).load()


def test_a_page_and_a_typed_file_come_back_as_they_were_saved(tmp_path):
    page, file = PageDataset(str(tmp_path / "a" / "report.html")), levels_of(tmp_path / "b" / "levels.json")
    page.save("<p>words</p>")
    levels = StudentLevels("s" * 64, {2: (1.5,), 3: (7.0, 0.5)}, searched=True)
    file.save(levels)
    assert page.load() == "<p>words</p>" and file.load() == levels
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["levels.json"]


def test_pictures_take_the_place_of_older_ones(tmp_path):
    dataset = PicturesDataset(str(tmp_path / "edited"))
    dataset.save({"inpaint/0000": Image.new("L", (2, 2), 9), "stroke/0000": Image.new("L", (2, 2))})
    dataset.save({"inpaint/0001": Image.new("L", (2, 2), 7)})
    assert {name: picture.getpixel((0, 0)) for name, picture in dataset.load().items()} == {"inpaint/0001": 7}


@pytest.fixture
def prepare(tmp_path):
    """A store among unfinished work: a function of its seed."""
    return lambda seed=0: ingest({"name": "moons", "count": 40}, tmp_path / "runs" / "images", seed=seed)


def test_a_store_is_moved_to_its_place(prepare, tmp_path):
    dataset, prepared = StoreDataset(str(tmp_path / "data" / "images")), prepare()
    dataset.save(prepared)
    assert dataset.load().sha256 == prepared.sha256 and not prepared.folder.exists()
    dataset.save(other := prepare(seed=1))
    assert dataset.load().sha256 == other.sha256 != prepared.sha256
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"images", ".images.verified"}


def test_a_move_that_fails_leaves_both_as_they_were(prepare, tmp_path, monkeypatch):
    dataset, first = StoreDataset(str(tmp_path / "data" / "images")), prepare()
    dataset.save(first)
    other = prepare(seed=1)

    def refused(*_):
        raise PermissionError("no")

    with monkeypatch.context() as patched, pytest.raises(DatasetError, match="no"):
        patched.setattr("pathlib.Path.rename", refused)
        dataset.save(other)
    assert dataset.load().sha256 == first.sha256 and type(other).open(other.folder).sha256 == other.sha256
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"images", ".images.verified"}


def test_a_store_that_was_changed_is_not_loaded(prepare, tmp_path):
    dataset = StoreDataset(str(tmp_path / "data" / "images"))
    dataset.save(prepare())
    dataset.load()
    with (tmp_path / "data" / "images" / "images.npy").open("r+b") as file:
        file.seek(200)
        file.write(b"noise")
    with pytest.raises(DatasetError, match="was changed after it was written"):
        dataset.load()


def test_an_extractor_is_copied_to_its_place_and_what_was_trained_stays(tmp_path):
    folder, dataset = tmp_path / "runs" / "extractor", ExtractorDataset(str(tmp_path / "extractor"))
    folder.mkdir(parents=True)
    (folder / CHOICE).write_text("{}")
    assert not dataset.exists()
    dataset.save(folder)
    assert dataset.exists() and (folder / CHOICE).exists()


def test_a_model_is_saved_from_memory_or_from_its_folder(draw_model, tmp_path):
    facts = {"name": "cd", "network": {"name": "mlp"}, "preconditioning": {"name": "consistency"}}
    model, dataset = draw_model(facts, DataSpace("moons", "points", (2,), 1.0)), ModelDataset(str(tmp_path / "cd"))
    for given in (model, model.save(tmp_path / "elsewhere")):
        dataset.save(given)
        found = dataset.load()
        assert (found.folder, found.sha256) == (tmp_path / "cd", model.sha256)
    assert np.array_equal(
        found.load("cpu").sample(nfe=1, seed=0, indices=range(2)), model.sample(nfe=1, seed=0, indices=range(2))
    )


def test_a_workplace_is_made_of_what_the_catalog_says_when_it_is_asked_for(tmp_path):
    given = {"runs": tmp_path, "tracking": "store", "params:env": "test", "params:fresh": True}
    launch, tracking = LaunchSettings(workers=0), TrackingSettings(run_name="slow")
    given |= {"params:launch": launch, "params:tracking": tracking}
    extractor = ExtractorDataset(str(tmp_path / "extractor"))
    catalog = DataCatalog({name: MemoryDataset(value) for name, value in given.items()} | {"extractor": extractor})
    workplace = WorkplaceDataset(catalog).load()
    assert (workplace.runs, workplace.backend, workplace.env, workplace.fresh) == (tmp_path, "store", "test", True)
    assert (workplace.launch, workplace.tracking) == (launch, tracking) and workplace.below(
        "comparison"
    ).runs == tmp_path / "comparison"
    assert WorkplaceDataset(catalog).exists()


FULL = {
    "scores.json": lambda file: JSONFileDataset(str(file)).save(["x" * 100] * 10_000),
    "sheet.png": lambda file: PictureDataset(filepath=str(file)).save(Image.effect_noise((999, 999), 90)),
    "report.html": lambda file: PageDataset(str(file)).save("x" * 10**6),
    "edited": lambda file: PicturesDataset(str(file)).save({"a/0": Image.effect_noise((999, 999), 90)}),
}


@pytest.mark.parametrize("name", FULL)
def test_what_does_not_fit_on_the_disk_leaves_the_older_one(name, small_disk):
    place = small_disk(2**16) / name
    older = place / "a" / "0.png" if name == "edited" else place
    older.parent.mkdir(exist_ok=True, parents=True)
    older.write_text("whole")
    with pytest.raises(DatasetError, match="not enough disk space for .*the disk is full.*untouched"):
        FULL[name](place)
    assert older.read_text() == "whole" and list(place.parent.iterdir()) == [place]
