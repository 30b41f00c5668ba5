from dataclasses import replace

import numpy as np
import pytest

from fewstep.evaluation.interval import interval
from fewstep.evaluation.results import Evaluation, Score
from fewstep.pictures.plotting import scatter
from fewstep.pictures.sheets import CHECKER, FRAME, GAP, sheet, tile
from fewstep.reporting.plots import ladder_plot
from fewstep.reporting.table import scores_table


def summary(mean, values=()):
    values = list(values) or [mean]
    return {"mean": mean, "interval": interval(values), "values": values}


@pytest.fixture
def scores():
    def row(model, sampler, nfe, fid):
        found = {"fid_digits": summary(fid), "kid_digits": summary(-0.0004), "is_digits": summary(8.5)}
        return {
            "model": model,
            "sampler": sampler,
            "nfe": nfe,
            "levels": [80.0],
            "scores": found,
            "images_per_second": 1234.5,
        }

    rows = [row("cd", "multistep", 1, 4.2), row("cd", "multistep", 2, 3.9), row("teacher", "heun", 9, 21.59)]
    floor = {"count": 400, "scores": {"fid_digits": summary(2.6), "kid_digits": summary(0.001)}}
    facts = {
        "dataset": "digits", "data_sha256": "d" * 64, "split": "train", "count": 400, "seeds": [0], "provisional": True,
        "extractor": {"name": "digits", "sha256": "e" * 64}, "floor": floor, "rows": rows,
    }  # fmt: skip
    return Evaluation.from_json(facts)


def test_a_tile_shows_each_pixel_as_a_square_block():
    images = np.random.default_rng(0).integers(0, 256, (5, 1, 8, 8)).astype(np.uint8)
    grid = tile(images, columns=3, side=48)
    assert grid.shape == (2 * (48 + GAP) + GAP, 3 * (48 + GAP) + GAP, 3)
    top, left = GAP + 48 + GAP, GAP + 48 + GAP  # the fifth image: second row, second column
    assert (grid[top : top + 48 : 6, left : left + 48 : 6, 0] == images[4, 0]).all()
    assert (grid[top : top + 6, left : left + 6] == images[4, 0, 0, 0]).all()
    assert (grid[-20, -20] == FRAME).all()


def test_a_tile_keeps_colours_in_their_channels():
    grid = tile(np.array([10, 20, 30], np.uint8).reshape(1, 3, 1, 1), columns=1, side=1)
    assert grid[GAP, GAP].tolist() == [10, 20, 30]


def test_a_sheet_has_a_row_for_each_title():
    images = np.full((20, 1, 8, 8), 200, np.uint8)
    one, two = sheet([("student\n1 NFE", images)]), sheet([("student\n1 NFE", images), ("teacher", images[:3])])
    assert one.width == two.width
    assert two.height > one.height
    left = np.asarray(one)[:, :100]
    assert (left < 128).any(), "the title is written in the margin"


def test_the_table_has_every_score_the_floor_and_says_provisional(scores):
    table = scores_table(scores)
    lines = table.splitlines()
    assert "provisional: 1 seed" in table
    assert next(line for line in lines if "heun" in line).split() == [
        "teacher",
        "heun",
        "9",
        "21.59",
        "-0.0004",
        "8.500",
        "1,234",
    ]
    assert lines[-1].split() == ["floor", "held-out", "2.600", "0.0010", "-"]
    assert max(map(len, lines[3:])) < 120


def test_the_table_of_several_seeds_has_their_interval(scores):
    first = replace(scores.rows[0], scores=scores.rows[0].scores | {"fid_digits": Score((3.0, 4.0, 5.0))})
    measured = replace(scores.measurement, seeds=(0, 1, 2))
    several = replace(scores, measurement=measured, rows=(first, *scores.rows[1:]))
    assert "4.000 ±2.484" in scores_table(several)
    assert "provisional" not in scores_table(several)


def test_the_ladder_shows_positive_and_negative_scores(scores):
    plots = [np.asarray(ladder_plot(scores, score)) for score in ("fid_digits", "kid_digits")]
    assert all(plot.ndim == 3 and plot.std() > 5 for plot in plots)
    assert not np.array_equal(*plots)


def test_scatter_has_a_panel_for_each_cloud():
    cloud = np.random.default_rng(0).normal(size=(50, 2))
    one, three = scatter([("a", cloud)]), scatter([("a", cloud)] * 3, cloud)
    assert three.width > 2.5 * one.width


def test_transparent_images_keep_it_in_a_grid_and_are_on_a_checker_in_a_sheet():
    images = np.zeros((2, 4, 12, 16), np.uint8)
    images[1] = 255
    grid = tile(images, columns=2, side=12)
    assert grid.shape == (12 + 2 * GAP, 32 + 3 * GAP, 4)
    assert (grid[GAP:-GAP, GAP : GAP + 16, 3] == 0).all() and (grid[0, :, 3] == 255).all()
    assert tuple(grid[0, 0, :3]) == FRAME
    picture = np.asarray(sheet([("clear", images[:1])], side=12))
    assert set(np.unique(picture)) >= {*CHECKER} and picture.shape[2] == 3
