"""Gradients in expectation, by Gaussian quadrature instead of chance: float64, data N(m, s^2).

The loss of consistency training does not vanish at the solution, since its pair is noisy; its gradient does.
"""

import math
from contextlib import nullcontext

import pytest
import torch
from numpy.polynomial.hermite_e import hermegauss
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import karras_levels, lognormal_intervals
from fewstep.losses.distances import build_distance
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.consistency_distillation import ConsistencyDistillation
from fewstep.objectives.consistency_training import ConsistencyTraining
from fewstep.objectives.easy_consistency_tuning import EasyConsistencyTuning
from fewstep.objectives.improved_consistency_training import ImprovedConsistencyTraining

DATA = Gaussian(mean=0.1, std=0.5)
START = Progress(0, 8, 0, 8)


def nodes(count: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Where and with which weight a standard Gaussian number is to be looked at, [count]."""
    places, weights = (torch.from_numpy(a) for a in hermegauss(count))
    return places, weights / math.sqrt(2 * math.pi)


class Quadrature:
    """A step's random numbers that take every value: level by level, and for each all pairs of noise and x0.

    level: what the objective draws its levels by, [L]; weights: of each, [L].
    """

    def __init__(self, level: torch.Tensor, weights: torch.Tensor, count: int = 10):
        places, each = nodes(count)
        grid = torch.cartesian_prod(torch.arange(len(level)), torch.arange(count), torch.arange(count)).T
        self.level, self.noise, self.x0 = level[grid[0]], places[grid[1]], DATA.mean + DATA.std * places[grid[2]]
        self.weights = weights[grid[0]] * each[grid[1]] * each[grid[2]]

    def integers(self, high):
        assert self.level.max() == high - 1
        return self.level

    def uniform(self):
        return self.level

    def normal(self, shape):
        return self.noise[:, None] if shape else self.level

    def dropout(self):
        return nullcontext()


class Student(nn.Module):
    """The exact flow to the boundary, bent by a weight: y + weight (y + y^2 / 3) sigma' / (1 + sigma'), exact for 0."""

    sigma_data = 0.5

    def __init__(self, weight: float, boundary: float = 0.002):
        super().__init__()
        self.weight, self.boundary = nn.Parameter(torch.tensor(weight, dtype=torch.float64)), boundary

    def forward(self, x, sigma, labels=None):
        y, above = DATA.consistency(self.boundary)(x, sigma), (sigma - self.boundary)[:, None]
        return y + self.weight * (y + y**2 / 3) * above / (1 + above)


class Teacher(nn.Module):
    def forward(self, x, sigma, labels=None):
        return DATA.denoiser(x, sigma)


def expected(objective, student, rng, distance="l2", progress=START) -> tuple[float, float]:
    """The expected loss and its derivative by the student's weight."""
    networks = Networks(student, student, Teacher(), build_distance(distance), {})
    loss = (objective(networks, Batch(rng.x0[:, None]), progress, rng) * rng.weights).sum()
    return loss.item(), torch.autograd.grad(loss, student.weight)[0].item()


def uniform_grid(num_levels: int) -> Quadrature:
    count = num_levels - 1
    return Quadrature(torch.arange(count), torch.full((count,), 1 / count, dtype=torch.float64))


def order(values: list[float]) -> float:
    """By which power of two the values fall from one to the next, in the end."""
    return math.log2(abs(values[-2] / values[-1]))


def test_the_expected_gradient_of_ct_tends_to_that_of_cd_by_euler():
    """Song et al. 2023, Theorem 2: they differ by o(h), of a gradient of order h."""
    differences, gradients = [], []
    for n in (41, 81, 161):
        ct = ConsistencyTraining(start_levels=n, end_levels=n, start_ema=0.0)
        cd = ConsistencyDistillation(num_levels=n, solver="euler")
        (_, trained), (_, distilled) = (expected(method, Student(0.5), uniform_grid(n)) for method in (ct, cd))
        differences.append(trained - distilled)
        gradients.append(distilled)
    assert order(gradients) == pytest.approx(1, abs=0.15)
    assert order(differences) > 1.85
    assert abs(differences[-1] / gradients[-1]) < 0.02


def ict_with(num_levels: int):
    intervals = lognormal_intervals(karras_levels(num_levels), -1.1, 2.0)
    rng = Quadrature(intervals.cumsum(0) - intervals / 2, intervals)
    return ImprovedConsistencyTraining(start_levels=num_levels - 1, end_levels=num_levels - 1), rng, START, 0.002


def ect_in(stage: int):
    return EasyConsistencyTuning(), Quadrature(*nodes(30)), Progress(stage, 8, stage, 8), 0.0


@pytest.mark.parametrize(("method", "finer"), [(ict_with, (81, 161, 321)), (ect_in, (4, 5, 6, 7))])
def test_the_solution_is_where_the_gradient_vanishes_and_the_loss_does_not(method, finer):
    exact, bent, losses = [], [], []
    for fineness in finer:
        objective, rng, progress, boundary = method(fineness)
        exact.append(expected(objective, Student(0.0, boundary), rng, "l2", progress)[1])
        bent.append(expected(objective, Student(0.2, boundary), rng, "l2", progress)[1])
        losses.append(expected(objective, Student(0.0, boundary), rng, "l1", progress)[0])
    assert order(exact) == pytest.approx(1, abs=0.15), "divided by the gap it falls with it"
    assert bent[-1] > 0 and order(bent) == pytest.approx(0, abs=0.15), "away from the solution it leads back to it"
    assert abs(exact[-1]) < 0.1 * bent[-1]
    assert order(losses) == pytest.approx(0, abs=0.15), "an absolute value of noise over the gap"
