import math

import pytest
import torch

from fewstep.diffusion.levels import karras_level, karras_levels, lognormal_levels


def test_the_grid_is_eq_5_of_karras_2022_with_exact_ends():
    levels = karras_levels(18)
    assert levels[0] == 80 and levels[-1] == 0.002
    middle = (80 ** (1 / 7) + 9 / 17 * (0.002 ** (1 / 7) - 80 ** (1 / 7))) ** 7
    assert levels[9].item() == pytest.approx(middle, rel=1e-12)
    assert (levels.diff() < 0).all()


def test_published_two_step_levels_are_on_the_grid():
    """Song et al. 2023: index 11 of 18 points is .585, 22 of 40 is 1.3824."""
    assert karras_levels(18)[11].item() == pytest.approx(0.585, abs=5e-4)
    assert karras_level(torch.tensor([22]), 40).item() == pytest.approx(1.3824, abs=5e-4)


def test_a_grid_of_one_level_is_sigma_max_and_of_none_is_refused():
    assert karras_levels(1).tolist() == [80]
    with pytest.raises(ValueError, match="at least 1"):
        karras_levels(0)


def test_lognormal_levels_have_the_mean_and_deviation_of_their_logarithm():
    logs = lognormal_levels(torch.randn(200_000, generator=torch.Generator().manual_seed(0)).double(), -1.2, 1.2).log()
    assert logs.mean().item() == pytest.approx(-1.2, abs=4 * 1.2 / math.sqrt(200_000))
    assert logs.std().item() == pytest.approx(1.2, rel=0.01)
