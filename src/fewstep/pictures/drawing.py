"""Samples as a picture, whether they are images [N, C, H, W] or points [N, 2]."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from fewstep.pictures.plotting import scatter
from fewstep.pictures.sheets import sheet, tile

COLUMNS = 8


def draw(samples: np.ndarray, columns: int = COLUMNS, title: str = "") -> Image.Image:
    """A grid of images, or a scatter of points under its title."""
    return Image.fromarray(tile(samples, columns)) if samples.ndim == 4 else scatter([(title, samples)])


def draw_rows(
    rows: Sequence[tuple[str, np.ndarray]], title: str, columns: int, real: np.ndarray | None = None
) -> Image.Image:
    """A sheet, a row for each (title, samples); of points, a scatter for each.

    columns: the most of a row. real: training data, in a row of their own or behind every scatter.
    """
    if rows[0][1].ndim != 4:
        return scatter([(words.replace("\n", ", "), points) for words, points in rows], real)
    first = [] if real is None else [("training\nimages", real)]
    return sheet([*first, *rows], title, columns)
