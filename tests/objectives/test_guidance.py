"""A range of strengths on Gaussian classes, whose guided denoiser is that of a Gaussian between and beyond: float64."""

import pytest
import torch
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.guidance import draw_strength, guided
from fewstep.diffusion.levels import per_sample
from fewstep.diffusion.randomness import StepRandomness
from fewstep.diffusion.solvers import SOLVERS
from fewstep.losses.distances import build_distance
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.consistency_trajectory import ConsistencyTrajectory
from fewstep.objectives.flow_anchored_consistency import FlowAnchoredConsistency

SIZE, STD, MEANS = 64, 0.3, torch.tensor([-0.4, 0.2, 0.5], dtype=torch.float64)  # without a label the mean is 0
LABELS = torch.eye(4, 3, dtype=torch.float64)[torch.arange(SIZE) % 4]  # every fourth row has none


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


def rng():
    return Float64(0, 0, SIZE, slice(0, SIZE))


class Classes(nn.Module):
    """Jumps and denoiser of N(row . MEANS, STD^2): a row of length w is the class guided with strength w."""

    network = None

    def data(self, labels) -> Gaussian:
        return Gaussian(self.row(labels) @ MEANS[:, None], STD)

    def row(self, labels):
        return labels

    def forward(self, x, sigma, labels, sigma_next=None):
        return self.data(labels).flow(x, sigma, torch.full_like(sigma, 0.002) if sigma_next is None else sigma_next)

    def denoiser(self, x, sigma, labels):
        return self.data(labels).denoiser(x, sigma)


class Untold(Classes):
    """It knows the class, and not how strong."""

    def row(self, labels):
        return (labels > 0).double()


class Teacher(Classes):
    def forward(self, x, sigma, labels):
        assert ((labels == 0) | (labels == 1)).all()
        return self.denoiser(x, sigma, labels)


def exactly(denoiser, x, sigma, sigma_next):
    """The flow of a Gaussian's denoiser, guided or not."""
    variance = per_sample(sigma, x) ** 2
    mean = (denoiser(x, sigma) * (STD**2 + variance) - STD**2 * x) / variance
    return Gaussian(mean, STD).flow(x, sigma, sigma_next)


def soft_term(student, monkeypatch, guidance):
    monkeypatch.setitem(SOLVERS, "exact", exactly)
    objective = ConsistencyTrajectory(solver="exact", distance="l2", denoising=0.0, guidance=guidance)
    networks = Networks(student, student, Teacher(), build_distance("l2"), {})
    batch = Batch(torch.zeros(SIZE, 2, dtype=torch.float64).requires_grad_(), LABELS)
    return objective(networks, batch, Progress(0, 10, 0, 10), rng()).detach()


def test_a_jump_that_follows_the_teacher_at_every_strength_has_no_soft_term(monkeypatch):
    assert soft_term(Classes(), monkeypatch, (0.5, 3.0)).max() < 1e-20
    loss = soft_term(Untold(), monkeypatch, (0.5, 3.0))
    labelled = LABELS.sum(1) > 0
    assert loss[labelled].mean() > 1e-4 and loss[~labelled].max() < 1e-20, "a row without a label has no strength"


def test_strengths_are_uniform_in_the_range_and_the_length_of_the_label():
    draws = StepRandomness(0, 0, 20_000, slice(0, 20_000))
    strength, rows = draw_strength((1.0, 3.0), torch.eye(2)[torch.zeros(20_000, dtype=torch.int64)], draws)
    assert strength.min() >= 1 and strength.max() <= 3
    quarters = strength.quantile(torch.tensor([0.25, 0.5, 0.75])).tolist()
    assert quarters == pytest.approx([1.5, 2, 2.5], abs=0.05)
    assert torch.equal(rows, torch.stack([strength, torch.zeros(20_000)], 1))


def test_one_strength_for_all_draws_nothing_and_tells_nothing():
    draws, untouched = rng(), rng()
    strength, rows = draw_strength(2.0, LABELS, draws)
    assert strength == 2.0 and rows is LABELS
    assert torch.equal(draws.uniform(), untouched.uniform())


def test_each_sample_is_guided_with_its_own_strength():
    x, sigma = torch.randn(SIZE, 2, dtype=torch.float64), torch.linspace(0.1, 3, SIZE, dtype=torch.float64)
    strength = torch.linspace(0, 3, SIZE)
    together = guided(Teacher(), x, sigma, LABELS, strength)
    for i in (0, 1, SIZE - 2):
        alone = guided(Teacher(), x[i : i + 1], sigma[i : i + 1], LABELS[i : i + 1], strength[i].item())
        torch.testing.assert_close(together[i : i + 1], alone)
    torch.testing.assert_close(together, Classes().denoiser(x, sigma, strength[:, None].double() * LABELS))


@pytest.mark.parametrize("guidance", [2.0, (1.0, 3.0)])
def test_the_teacher_of_facm_is_guided_from_a_time_on(guidance):
    x, sigma = torch.randn(SIZE, 2, dtype=torch.float64), torch.linspace(1, 12, SIZE, dtype=torch.float64)
    networks = Networks(Classes(), Classes(), Teacher(), build_distance("l2"), {})
    strength = 2.0 if isinstance(guidance, float) else torch.linspace(1.5, 3, SIZE)
    method = FlowAnchoredConsistency(guidance=guidance, guided_from=0.125)
    found = method.guided_teacher(networks, x, sigma, LABELS, strength)
    everywhere = guided(Teacher(), x, sigma, LABELS, strength)
    late = 1 / (1 + sigma) > 0.125
    assert 0 < late.sum() < SIZE
    torch.testing.assert_close(found[late], everywhere[late])
    torch.testing.assert_close(found[~late], Teacher()(x, sigma, LABELS)[~late])


@pytest.mark.parametrize("method", [ConsistencyTrajectory, FlowAnchoredConsistency])
@pytest.mark.parametrize("guidance", [(1.5, 3.0), (0.2, 0.9), (1.0, 1.0), (-1.0, 2.0), (1.0, float("inf")), 0.0])
def test_a_wrong_range_is_refused(method, guidance):
    with pytest.raises(ValueError, match="^guidance must be"):
        method(guidance=guidance)
