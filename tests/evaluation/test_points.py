import numpy as np
import pytest

from fewstep.evaluation.points import equal_parts, sliced_wasserstein, wasserstein


@pytest.fixture
def cloud():
    return np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)


def test_a_shift_is_its_length(cloud):
    shuffled = np.random.default_rng(1).permutation(cloud)
    assert wasserstein(shuffled + np.float32([3, -4]), cloud) == pytest.approx(5, rel=1e-5)


def test_a_scale_is_its_share_of_the_spread(cloud):
    """On one line the best pairing keeps the order: x -> 2 x is |x| away."""
    line = cloud * [1, 0]
    assert wasserstein(2 * line, line) == pytest.approx(np.sqrt((line**2).sum(1).mean()))


def test_it_is_no_distance_to_itself_in_any_order(cloud):
    assert wasserstein(cloud[::-1], cloud) == pytest.approx(0, abs=1e-6)


def test_parts_of_larger_clouds_are_the_seeds(cloud):
    first, again, other = (wasserstein(*equal_parts(cloud[:100], cloud + 1, seed)) for seed in (0, 0, 1))
    assert first == again != other
    assert first == pytest.approx(2**0.5, rel=0.3)


def test_a_shadow_of_a_shift_is_shorter(cloud):
    """On lines in all directions of the plane, a shift has half of its squared length on average."""
    assert sliced_wasserstein(cloud + np.float32([3, -4]), cloud) == pytest.approx(5 / 2**0.5, rel=0.05)
    assert sliced_wasserstein(cloud[::-1], cloud) == pytest.approx(0, abs=1e-6)
    line = cloud[:, :1]
    assert sliced_wasserstein(2 * line, line) == pytest.approx(wasserstein(2 * line, line))


def test_points_that_are_no_numbers_are_refused(cloud):
    cloud[3] = np.nan
    with pytest.raises(ValueError, match="finite"):
        equal_parts(cloud, cloud, 0)
