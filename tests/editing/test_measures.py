"""How near edits are, by LPIPS too where it is: here by a random trunk, under its own name."""

import numpy as np
import pytest

from fewstep.data.space import DataSpace
from fewstep.editing import measures
from fewstep.evaluation.perception import compare
from fewstep.losses.distances import build_distance

SPACE = DataSpace("colours", "images", (3, 8, 8), 0.66)


def test_lpips_is_the_mean_distance_of_what_was_edited_where_there_are_weights(monkeypatch):
    edited, given, references = np.random.default_rng(0).integers(0, 256, (3, 2, 3, 8, 8), np.uint8)
    distance = build_distance({"name": "lpips_random", "net": "squeeze"}, SPACE.scale)
    monkeypatch.setattr(measures, "find_lpips", lambda space: distance)
    expected = compare(edited, references, distance, SPACE).mean()
    assert expected > 0.005
    assert measures.measure(edited, given, references, SPACE)["lpips"] == pytest.approx(expected, abs=5e-4)
    assert measures.measure(references, given, references, SPACE)["lpips"] == 0
    monkeypatch.setattr(measures, "find_lpips", lambda space: None)
    assert measures.measure(edited, given, references, SPACE).keys() == {"psnr_given", "psnr"}
