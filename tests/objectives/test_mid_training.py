"""CMT on Gaussian data, whose trajectories are known. float64."""

import pytest
import torch
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.objectives import Batch, Networks, Progress, build_objective
from fewstep.objectives.consistency_mid_training import ConsistencyMidTraining

DATA = Gaussian(0.1, 0.5)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


class Student(nn.Module):
    """The exact consistency function, which remembers what it is called with."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, x, sigma, labels=None):
        self.seen.append((x, sigma, labels))
        return DATA.consistency(0.0)(x, sigma)


def loss_of(student, points, rows=slice(0, 256), labels=None, **constants):
    size = rows.stop - rows.start
    networks = Networks(student, student, lambda x, sigma, labels: DATA.denoiser(x, sigma), build_distance("l2"), {})
    batch = Batch(torch.zeros(size, 2, dtype=torch.float64), labels)
    rng = Float64(0, 0, 256, rows)
    return ConsistencyMidTraining(points=points, **constants)(networks, batch, Progress(0, 9, 0, 9), rng)


@pytest.mark.parametrize(("solver", "order"), [("euler", 2), ("heun", 4)])
def test_the_loss_of_the_exact_function_falls_with_the_order_of_the_solver(solver, order):
    """L2 squares the error of the whole trajectory. At so few points it falls faster still."""
    losses = [loss_of(Student(), points, solver=solver).mean() for points in (32, 128)]
    assert order - 0.2 < torch.log2(losses[0] / losses[1]).item() / 2 < order + 2


def test_each_point_of_a_trajectory_is_a_sample_and_all_have_one_end():
    student, labels = Student(), torch.eye(256, dtype=torch.float64)
    loss_of(student, 32, labels=labels)
    ((x, sigma, told),) = student.seen
    assert torch.equal(sigma.view(8, 32), karras_levels(32).expand(8, 32))
    assert torch.equal(told, labels[::32].repeat_interleave(32, 0)), "a trajectory has one label"
    assert x.view(8, 32, 2)[:, 0].std().item() == pytest.approx(80, rel=0.4)
    ends = DATA.consistency(0.0)(x, sigma).view(8, 32, 2)
    assert (ends - ends[:, :1]).abs().max() < 0.1 * ends.std(), "up to the error of the solver"


def test_a_trajectory_is_a_function_of_its_place_in_the_batch():
    whole = loss_of(Student(), 8)
    parts = [loss_of(Student(), 8, slice(first, first + 64)) for first in range(0, 256, 64)]
    torch.testing.assert_close(torch.cat(parts), whole)


def test_wrong_constants_are_refused_in_words():
    with pytest.raises(ValueError, match="points must be at least 2, got 1"):
        build_objective({"name": "consistency_mid_training", "points": 1})
    with pytest.raises(ValueError, match="Did you mean 'heun'"):
        build_objective({"name": "consistency_mid_training", "solver": "hein"})
