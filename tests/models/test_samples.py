"""Samples are an array, and pictures."""

import numpy as np
import pytest
from PIL import Image

from fewstep.models.samples import Samples
from fewstep.support.errors import InvalidInput


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_pictures_have_the_pixels_of_the_array(channels, mode, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, channels, 6, 8), dtype=np.uint8)
    pictures = pixels.view(Samples).to_pil()
    assert [picture.mode for picture in pictures] == [mode] * 5 and pictures[0].size == (8, 6)
    assert np.array_equal(np.asarray(pictures[3]).reshape(6, 8, channels).transpose(2, 0, 1), pixels[3])
    grid = Image.open(pixels.view(Samples).save_grid(tmp_path / "grid.png", columns=4))
    assert grid.width > 4 * 48 and grid.height > 2 * 48 - 1


def test_points_are_no_pictures(tmp_path):
    points = np.zeros((3, 2), np.float32).view(Samples)
    for asked in (points.to_pil, lambda: points.save_grid(tmp_path / "x.png")):
        with pytest.raises(InvalidInput, match=r"uint8 \[N, C, H, W\], got float32 \[3, 2\]"):
            asked()
    assert list(tmp_path.iterdir()) == []
