import numpy as np
import pytest
import torch

from fewstep.evaluation.frechet import FeatureStatistics, distance_of_sets


def drawn(count, width, seed=0, scale=1.0):
    generator = torch.Generator().manual_seed(seed)
    mixed = torch.randn(width, width, generator=generator, dtype=torch.float64) / width**0.5
    return scale * torch.randn(count, width, generator=generator, dtype=torch.float64) @ mixed + seed


def test_identical_sets_are_at_zero_and_order_does_not_matter():
    for features in (drawn(40, 8), drawn(10, 50)):  # the second has fewer images than features
        one = FeatureStatistics.of(features)
        assert one.distance(FeatureStatistics.of(features.flip(0))) == pytest.approx(0, abs=1e-9)
        other = FeatureStatistics.of(drawn(20, features.shape[1], seed=1))
        assert one.distance(other) == pytest.approx(other.distance(one), rel=1e-9)
        assert one.distance(other) > 1


def test_gaussians_that_commute_have_the_closed_form():
    """The sum of squared differences of means and of standard deviations."""
    stds = np.array([[1.0, 2.0, 0.0], [3.0, 0.5, 1.0]])
    ones = [
        FeatureStatistics(np.array(mean), np.diag(std**2))
        for mean, std in zip(([0, 1, 2], [1, 1, 0]), stds, strict=False)
    ]
    assert ones[0].distance(ones[1]) == pytest.approx(5 + np.square(stds[0] - stds[1]).sum(), rel=1e-12)


@pytest.mark.parametrize("width", [1, 30])
def test_copies_and_few_images_give_a_number(width):
    """Copies of one image have no covariance: only the means and the other's spread are left."""
    copies = torch.full((10, width), 2.0)
    other = FeatureStatistics.of(drawn(100, width))
    found = FeatureStatistics.of(copies).distance(other)
    assert found == pytest.approx(np.square(2 - other.mean).sum() + np.trace(other.covariance), rel=1e-12)
    assert FeatureStatistics.of(copies).distance(FeatureStatistics.of(copies)) == 0


@pytest.mark.parametrize("counts", [(40, 50), (5, 50), (5, 6), (50, 7)])
def test_sets_have_the_distance_of_their_statistics(counts):
    one, other = drawn(counts[0], 12), drawn(counts[1], 12, seed=1)
    expected = FeatureStatistics.of(one).distance(FeatureStatistics.of(other))
    assert distance_of_sets(one, other) == pytest.approx(expected, rel=1e-9)
