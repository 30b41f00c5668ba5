"""Diversity, by a random trunk: real LPIPS weights are not here."""

import numpy as np
import pytest

from fewstep.data.space import DataSpace
from fewstep.evaluation.perception import PAIRS, diversity, find_lpips
from fewstep.losses.distances import build_distance

SPACE = DataSpace("gray", "images", (1, 8, 8), 0.5, ())


@pytest.fixture(scope="module")
def distance():
    return build_distance({"name": "lpips_random", "net": "squeeze"}, SPACE.scale)


def test_equal_samples_have_none_and_others_some(distance):
    samples = np.random.default_rng(0).integers(0, 256, (6, 1, 8, 8)).astype(np.uint8)
    alike = np.repeat(samples[:1], 5, 0)
    assert diversity(alike, distance, SPACE) == 0
    assert diversity(samples, distance, SPACE) > 1e-3


def test_it_looks_at_few_pairs(distance):
    calls = []
    watch = distance.register_forward_hook(lambda *_: calls.append(1))
    diversity(np.zeros((10 * PAIRS, 1, 8, 8), np.uint8), distance, SPACE)
    watch.remove()
    assert len(calls) == PAIRS


def test_without_weights_or_images_there_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_lpips(SPACE) is None
    assert find_lpips(DataSpace("moons", "points", (2,), 0.5, ())) is None
