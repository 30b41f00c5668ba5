"""Orders of convergence against the exact flow of Gaussian data, float64."""

from itertools import pairwise

import pytest
import torch

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.solvers import SOLVERS, euler_step, slope

DATA = Gaussian(mean=0.3, std=0.5)


def final_error(step, steps: int) -> float:
    x = torch.linspace(-3, 3, 7, dtype=torch.float64)[:, None]
    levels = torch.linspace(4, 0.5, steps + 1, dtype=torch.float64)
    y = x
    for sigma, sigma_next in pairwise(levels):
        y = step(DATA.denoiser, y, sigma.expand(7), sigma_next.expand(7))
    exact = DATA.flow(x, levels[:1].expand(7), levels[-1:].expand(7))
    return (y - exact).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_the_slope_of_the_error_is_the_order(name, order):
    coarse, fine = final_error(SOLVERS[name], 64), final_error(SOLVERS[name], 128)
    assert torch.log2(torch.tensor(coarse / fine)).item() == pytest.approx(order, abs=0.1)


def test_the_flow_solves_the_ode():
    x, sigma = torch.tensor([[1.7]], dtype=torch.float64), torch.tensor([0.8], dtype=torch.float64)
    h = 1e-5
    derivative = (DATA.flow(x, sigma, sigma + h) - DATA.flow(x, sigma, sigma - h)) / (2 * h)
    assert derivative.item() == pytest.approx(slope(DATA.denoiser, x, sigma).item(), rel=1e-8)


def test_one_euler_step_to_zero_is_the_denoiser():
    x, sigma = torch.randn(5, 3), torch.rand(5) + 0.1
    torch.testing.assert_close(euler_step(DATA.denoiser, x, sigma, torch.zeros(5)), DATA.denoiser(x, sigma))
