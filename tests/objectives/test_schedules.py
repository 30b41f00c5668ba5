"""What changes over a training, against the papers' formulas at the ends and in the middle."""

import math
from itertools import pairwise

import pytest
import torch

from fewstep.diffusion.levels import arc_levels, karras_levels, lognormal_intervals, lognormal_levels, pick
from fewstep.objectives import Progress
from fewstep.objectives.consistency_training import ConsistencyTraining
from fewstep.objectives.continuous_consistency import ContinuousConsistency
from fewstep.objectives.easy_consistency_tuning import EasyConsistencyTuning
from fewstep.objectives.flow_anchored_consistency import FlowAnchoredConsistency
from fewstep.objectives.improved_consistency_training import ImprovedConsistencyTraining
from fewstep.objectives.progressive_distillation import ProgressiveDistillation


def at(step: int, total: int, batch: int = 1) -> Progress:
    return Progress(step, total, step * batch, total * batch)


@pytest.mark.parametrize(("last", "mu0", "total"), [(150, 0.9, 800_000), (200, 0.95, 800_000), (150, 0.95, 1_000_000)])
def test_ct_has_the_papers_levels_and_target_decay(last, mu0, total):
    ct = ConsistencyTraining(end_levels=last, start_ema=mu0)
    assert [ct.num_levels(at(k, total)) for k in (0, total)] == [2, last + 1]
    middle = math.ceil(math.sqrt(((last + 1) ** 2 - 4) / 2 + 4) - 1) + 1
    assert ct.num_levels(at(total // 2, total)) == middle == {150: 107, 200: 143}[last]
    for step, levels in ((0, 2), (total // 2, middle), (total, last + 1)):
        assert ct.target_decay(at(step, total)) == pytest.approx(math.exp(2 * math.log(mu0) / levels), rel=1e-12)
    assert ct.target_decay(at(0, total)) == pytest.approx(mu0), "with N - 1 it would be its square"
    assert ConsistencyTraining(start_ema=0).target_decay(at(0, total)) is None


def test_ict_doubles_its_levels_eight_times_as_long_each():
    ict = ImprovedConsistencyTraining()
    steps = (0, 49_999, 50_000, 199_999, 200_000, 349_999, 350_000, 399_999, 400_000)
    assert [ict.num_levels(at(k, 400_000)) for k in steps] == [11, 11, 21, 81, 161, 641, 1281, 1281, 1281]
    assert [ImprovedConsistencyTraining(end_levels=160).num_levels(at(k, 5)) for k in range(5)] == [11, 21, 41, 81, 161]
    assert ImprovedConsistencyTraining().num_levels(at(2, 3)) == 41, "a training of fewer steps than doublings"


@pytest.mark.parametrize("num_levels", [11, 161, 1281])
def test_ict_draws_levels_as_the_paper_does(num_levels):
    mean, std, levels = -1.1, 2.0, karras_levels(num_levels).flip(0)  # t_1 < ... < t_N

    def error_function(i):
        return math.erf((math.log(levels[i]) - mean) / (math.sqrt(2) * std))

    paper = torch.tensor([error_function(i + 1) - error_function(i) for i in range(num_levels - 1)]).double()
    ours = lognormal_intervals(levels.flip(0), mean, std).flip(0)
    torch.testing.assert_close(ours, paper / paper.sum(), rtol=1e-5, atol=1e-12)
    assert ours.sum().item() == pytest.approx(1)


def test_indices_are_picked_by_their_probabilities():
    probabilities = torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64)
    uniform = (torch.arange(1000) + 0.5) / 1000
    assert pick(probabilities, uniform).bincount(minlength=4).tolist() == [100, 0, 600, 300]
    ends = torch.tensor([0.0, 1 - 2**-24])
    assert pick(probabilities, ends).tolist() == [0, 3]


@pytest.mark.parametrize(("q", "num_stages"), [(2.0, 8), (256.0, 2)])
def test_ect_has_the_papers_r(q, num_stages):
    ect, t = EasyConsistencyTuning(q=q, num_stages=num_stages), torch.logspace(-3, 3, 25, dtype=torch.float64)
    for stage in range(num_stages):
        progress = at(stage, num_stages)
        factor = [1 - q ** -(stage + 1) * (1 + 8 / (1 + math.exp(min(v, 700)))) for v in t.tolist()]
        r = torch.tensor([max(0.0, v * f) for v, f in zip(t.tolist(), factor, strict=True)], dtype=torch.float64)
        gap = ect.gap(t, progress)
        torch.testing.assert_close(t - gap, r, rtol=1e-12, atol=1e-15)
        assert (gap > 0).all() and ((t - gap) >= 0).all()
    first = ect.gap(t, at(0, num_stages))
    assert torch.equal(first[0], t[0]) == (q == 2), "at first, with q = 2, low levels have r = 0"


def test_ect_has_eight_stages_of_25k_iterations():
    steps = (0, 24_999, 25_000, 100_000, 199_999)
    assert [EasyConsistencyTuning().curriculum(at(k, 200_000)) for k in steps] == [0, 0, 1, 4, 7]


def test_pd_halves_its_steps_and_stays_twice_as_long_at_two_and_one():
    pd, total = ProgressiveDistillation(), 750_000
    steps = (0, 49_999, 50_000, 300_000, 549_999, 550_000, 649_999, 650_000, 749_999, 750_000)
    assert [pd.num_steps(at(k, total)) for k in steps] == [4096, 4096, 2048, 64, 4, 2, 2, 1, 1, 1]
    few = ProgressiveDistillation(start_steps=16, end_steps=4)
    assert [few.num_steps(at(k, 5)) for k in range(5)] == [16, 8, 8, 4, 4]
    assert pd.stage(at(0, total, 512)) == at(0, 50_000, 512)
    assert pd.stage(at(305_000, total, 512)) == at(5_000, 50_000, 512)
    assert pd.stage(at(749_999, total, 512)) == at(99_999, 100_000, 512)


@pytest.mark.parametrize(("start", "total"), [(1, 5), (2, 7), (16, 100), (16, 3), (64, 11)])
def test_pds_stages_fill_the_training(start, total):
    pd = ProgressiveDistillation(start_steps=start)
    stages = [pd.stage(at(k, total, 4)) for k in range(total)]
    assert sum(s.total_steps for s in stages if s.step == 0) == total
    for before, after in pairwise(stages):
        assert after.step == (before.step + 1) % before.total_steps
    for k, stage in enumerate(stages):
        assert (stage.images, stage.total_images) == (4 * stage.step, 4 * stage.total_steps)
        assert pd.num_steps(at(k, total)) == pd.num_steps(at(k - stage.step, total))
    assert pd.num_steps(at(total - 1, total)) == 1


def test_the_tangent_comes_in_over_the_papers_ten_thousand_of_its_steps_or_the_same_share_of_fewer():
    scm = ContinuousConsistency()
    steps = (0, 1, 5_000, 10_000, 400_000)
    assert [scm.warmed_up(at(k, 400_000)) for k in steps] == pytest.approx([0, 1e-4, 0.5, 1, 1], rel=1e-12)
    assert [scm.warmed_up(at(k, 4_000)) for k in (0, 50, 100)] == pytest.approx([0, 0.5, 1], rel=1e-12)
    assert ContinuousConsistency(warmup=0).warmed_up(at(0, 10)) == 1


def test_continuous_levels_are_those_of_the_papers():
    """tau ~ N(mean, std^2): sCM's t = atan(e^tau / sigma_data), FACM's t = 1 - 2 / pi atan(e^tau)."""
    normal = torch.tensor([-4.0, 0.0, 0.3, 4.0], dtype=torch.float64)
    angle = torch.atan((-1.0 + 1.4 * normal).exp() / 0.5)
    torch.testing.assert_close(0.5 * angle.tan(), lognormal_levels(normal, -1.0, 1.4), rtol=1e-12, atol=0)
    t = 1 - 2 / math.pi * torch.atan((-0.8 + 1.6 * normal).exp())
    sigma = arc_levels(normal, -0.8, 1.6)
    torch.testing.assert_close(sigma, (1 - t) / t, rtol=1e-10, atol=0)
    assert sigma[-1] > 80, "up to where samplers start"
    torch.testing.assert_close(arc_levels(normal.float(), -0.8, 1.6).double(), sigma, rtol=1e-5, atol=0)


def test_facm_relaxes_its_target_and_weighs_by_the_place_on_the_flow():
    """alpha = 1 - t^.5 and cos(pi t / 2): the noise (t = 0) whole, the data (t = 1) not at all."""
    facm, t = FlowAnchoredConsistency(), torch.tensor([[0.0], [0.25], [1.0]], dtype=torch.float64)
    flow = torch.zeros(3, 1, dtype=torch.float64)
    assert facm.target(flow, flow + 0.4, t).flatten().tolist() == pytest.approx([0.4, 0.2, 0])
    assert facm.target(flow, flow - 7.0, t).flatten().tolist() == pytest.approx([-1, -0.5, 0])
    for wrong in (math.inf, -math.inf, math.nan):
        assert facm.target(flow, flow + wrong, t).isnan().all(), "clamping does not hide it"
    sigma, error = 1 / t.flatten()[1:] - 1, torch.full((2,), 0.6, dtype=torch.float64, requires_grad=True)
    weighted = facm.weighted(error, sigma)
    expected = torch.tensor([math.cos(math.pi / 8), 0.0], dtype=torch.float64) / math.sqrt(0.601)
    torch.testing.assert_close(weighted, 0.6 * expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(torch.autograd.grad(weighted.sum(), error)[0], expected, rtol=1e-12, atol=1e-15)
