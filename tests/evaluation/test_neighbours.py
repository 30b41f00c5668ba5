import numpy as np
import pytest
import torch
from scipy.spatial.distance import cdist

from fewstep.evaluation.neighbours import ROWS, Neighbourhoods, compare_neighbours, seconds_of_comparison


def drawn(count, scale=1.0, seed=0):
    return scale * torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def published(samples, known, k=5):
    """Density and coverage, Naeem et al. 2020, Eq. 3 and 4, with open balls as in their code."""
    reach = np.sort(cdist(known, known), axis=1)[:, k]
    inside = cdist(samples, known) < reach
    return inside.sum() / (k * len(samples)), inside.any(0).mean()


@pytest.mark.parametrize("counts", [(40, 60), (2 * ROWS + 1, ROWS + 3)])
def test_density_and_coverage_are_those_of_their_authors(counts):
    samples, known = drawn(counts[0], 1.1, 1), drawn(counts[1])
    found = compare_neighbours(samples, Neighbourhoods.of(known))
    density, coverage = published(samples.numpy(), known.numpy())
    assert density > 0.2 and 0.2 < coverage < 1
    assert found["density"] == pytest.approx(density, abs=1e-6)
    assert found["coverage"] == pytest.approx(coverage, abs=1e-6)


def test_the_training_images_themselves_and_what_is_far_away():
    known = Neighbourhoods.of(drawn(300))
    same, far = compare_neighbours(known.features, known), compare_neighbours(drawn(50) + 100, known)
    assert same["precision"] == same["recall"] == same["coverage"] == 1 and same["density"] > 0.9
    assert far == dict.fromkeys(("precision", "recall", "density", "coverage"), 0)


def test_copies_give_numbers():
    copies = torch.ones(20, 6)
    for samples, known in ((copies, drawn(30)), (drawn(30), copies), (copies, copies)):
        found = compare_neighbours(samples, Neighbourhoods.of(known))
        assert all(np.isfinite(value) for value in found.values())


def test_its_cost_grows_with_the_number_of_pairs():
    first, each = seconds_of_comparison(1000, 1000, 8)
    assert 0 < each < first == pytest.approx(1.5 * each)
