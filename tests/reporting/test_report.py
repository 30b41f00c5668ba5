"""The report's page, and the pictures that are made for it."""

import base64
import io
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
from PIL import Image

from fewstep.data import ingest
from fewstep.data.space import DataSpace
from fewstep.diffusion.gaussian import Gaussian
from fewstep.evaluation.results import Evaluation
from fewstep.evaluation.sampling import SamplingSetting
from fewstep.models.model import Model
from fewstep.models.spec import ModelSpec
from fewstep.pipelines.datasets import PicturesDataset
from fewstep.reporting.report import Figure, Part, Table, figures_of, render
from fewstep.reporting.sections import neighbours_part, samples_part, scores_part
from fewstep.reporting.trajectories import trajectories

DATA = Gaussian(mean=0.1, std=0.25)


class Places(HTMLParser):
    """What a page refers to, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.found, self.text = [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.found += [value for name, value in attributes if name in ("src", "srcset", "href", "action", "data")]

    def handle_data(self, data):
        self.text += data


def page(picture=None):
    picture = picture or Image.new("RGB", (4, 4))
    figures = [Figure("a <b> & c", picture, narrow=picture)]
    return render(
        "title", "lead", [Part("Samples", "", figures), Part("Used", tables=[Table([["x", "1"]], ["a", "b"])])]
    )


def test_a_figure_has_its_file_and_others_go(tmp_path):
    tones = [Figure("", Image.new("L", (2, 2), tone)) for tone in (10, 20, 30)]
    dataset = PicturesDataset(str(tmp_path / "report"))
    dataset.save(figures_of([Part("Samples", figures=[tones[2]] * 2)]))
    dataset.save(figures_of([Part("Samples", figures=tones[:1]), Part("One noise", figures=tones[1:])]))
    found = {file.name: Image.open(file).getpixel((0, 0)) for file in (tmp_path / "report").iterdir()}
    assert found == {"samples_01.png": 10, "one_noise_01.png": 20, "one_noise_02.png": 30}


def test_a_page_refers_to_nothing_outside():
    places = Places(page()).found
    assert len(places) == 5  # the icon, two parts, a picture in two sizes
    assert [place for place in places if not place.startswith(("data:", "#"))] == []
    assert "url(" not in page() and "@import" not in page() and "<script" not in page()
    assert "default-src 'none'" in page()


def test_text_is_text_and_a_picture_keeps_its_pixels():
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    read = Places(page(Image.fromarray(pixels)))
    assert "a <b> & c" in read.text
    encoded = next(place for place in read.found if place.startswith("data:image/png"))
    again = Image.open(io.BytesIO(base64.b64decode(encoded.partition(",")[2])))
    assert np.array_equal(np.asarray(again), pixels)


class Exact(torch.nn.Module):
    """A function of Gaussian data that is known."""

    sigma_data = 0.25

    def __init__(self, function):
        super().__init__()
        self.function, self.somewhere = function, torch.nn.Parameter(torch.zeros(1))

    def forward(self, x, sigma, labels=None):
        return self.function(x, sigma)


def exact(name, wrapper, function):
    space = DataSpace("gaussian", "images", (1, 8, 8), 0.5)
    return Model(Exact(function), space, ModelSpec(name, {}, {"name": wrapper}))


def test_a_consistent_student_sees_one_picture_all_along():
    teacher = exact("teacher", "edm", DATA.denoiser)
    student = exact("cd", "consistency", DATA.consistency(0.002))
    levels, rows = trajectories(teacher, student, shown=40)  # Heun's error is below half a grey level
    assert levels[0] == 80 and all(np.diff(levels) < 0) and len(levels) == 40
    grey = rows["student"].astype(int)
    assert np.abs(grey - grey[-1]).max() <= 1 and grey[0].std() > 10
    mean = round((DATA.mean / 0.5 + 1) * 127.5)
    assert np.abs(rows["teacher"][0].astype(int) - mean).max() <= 1
    assert np.abs(rows["teacher"][-1].astype(int) - grey[-1]).max() <= 1
    _, rows = trajectories(teacher, exact("cd", "consistency", DATA.denoiser), shown=40)
    assert np.abs(rows["student"].astype(int) - rows["student"][-1]).max() > 10


def test_neighbours_stand_below_their_samples(digits):
    training = digits.images("train")
    part = neighbours_part(np.array(training[:8]), digits, rate=0.25)
    picture = np.asarray(part.figures[0].picture)
    rows = [picture[2 + 50 * row : 50 + 50 * row] for row in range(4)]
    assert np.array_equal(rows[0], rows[1]) and not np.array_equal(rows[0], rows[2])
    assert "25.0%" in part.words


def test_points_are_scattered(tmp_path):
    store = ingest({"name": "moons", "count": 200}, tmp_path / "moons")
    rung = SamplingSetting(
        "cd", "multistep", 1, [80.0], lambda seed, indices: np.array(store.images("train")[: len(indices)]), None
    )
    part = samples_part([rung], store, 0)
    assert [figure.caption for figure in part.figures] == ["training data", "cd, multistep, 1 NFE"]
    assert all(np.asarray(figure.picture).std() > 5 for figure in part.figures)


@pytest.mark.parametrize(("dataset", "tables"), [("cifar10", 2), ("digits", 1)])
def test_scores_stand_beside_what_is_published(dataset, tables):
    score = {"fid_x": {"mean": 4.0, "interval": [3.5, 4.5], "values": [3.8, 4.0, 4.2]}}
    row = {"model": "cd", "sampler": "multistep", "nfe": 1, "levels": [80.0], "images_per_second": 9.0, "scores": score}
    part = scores_part(
        Evaluation.from_json({
            "dataset": dataset, "data_sha256": "d", "split": "train", "count": 400, "seeds": [0, 1, 2],
            "extractor": {"name": "x", "sha256": "e" * 64}, "provisional": False, "rows": [row],
            "floor": {"count": 400, "scores": score},
        })
    )  # fmt: skip
    assert len(part.tables) == tables
    assert part.tables[0].rows[0] == ["cd, multistep, 1 NFE", "4.000 ±0.497", "9"]
    assert ("does not compare" in part.words) == (tables == 2)
    if tables == 2:
        assert ["EDM", "36", "2.04", "9.84", "Song et al. 2023, Table 1"] in part.tables[1].rows
