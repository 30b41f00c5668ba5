"""TCM: against the authors' numbers, and as ECT where nothing is truncated. float64."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import log_student_levels
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.losses.pairs import tuned_gap
from fewstep.objectives import Batch, Networks, Progress, build_objective
from fewstep.objectives.easy_consistency_tuning import EasyConsistencyTuning
from fewstep.objectives.truncated_consistency import TruncatedConsistency
from fewstep.preconditioning import build_preconditioner

FOLDER = Path(__file__).parents[1] / "reference" / "losses"
NUMBERS = load_file(FOLDER / "tcm_fastgen.safetensors")
FACTS = json.loads((FOLDER / "tcm_fastgen.json").read_text())
PLAIN = {"name": "pseudo_huber", "c": 1e-8}
CASES = {  # what there is of it here, with 1 - q^-(stage + 1) for the ratio; FastGen's "squared" is none of ours
    "default": ({"q": 2.0, "weight": "gap"}, 3, PLAIN),
    "huber": ({"q": 2.0, "weight": "gap"}, 3, {"name": "pseudo_huber", "c": 0.06}),
    "c_out": ({"q": 10.0, "weight": "c_out"}, 2, PLAIN),
}


class Toy(nn.Module):
    """The network of the reference values, of (x, c_noise)."""

    c_noise = "log"

    def __init__(self, weights: str):
        super().__init__()
        found = load_file(FOLDER / "toy_networks.safetensors")
        self.w = nn.ParameterDict({k.partition(".")[2]: v for k, v in found.items() if k.startswith(f"{weights}.")})

    def forward(self, x, c_noise, labels=None):
        w = self.w
        hidden = (x.flatten(1) @ w["w1"].T + c_noise[:, None] * w["u1"][:, 0] + w["b1"]).tanh()
        return ((hidden @ w["w2"].T + w["b2"]).tanh() @ w["w3"].T + w["b3"]).view(x.shape)


class Told:
    """Random numbers that are given: noise, and whether a sample lies at the boundary."""

    def __init__(self, noise, at_boundary):
        self.noise, self.uniforms = noise, [torch.where(at_boundary, 0.0, 0.999), torch.zeros(len(noise))]

    def uniform(self):
        return self.uniforms.pop(0)

    def normal(self, shape):
        return self.noise

    def dropout(self):
        return torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad()


@pytest.mark.parametrize("case", CASES)
def test_losses_and_gradients_are_those_of_the_authors(case, monkeypatch):
    constants, stage, distance = CASES[case]
    known = {name.partition(".")[2]: value for name, value in NUMBERS.items() if name.startswith(f"{case}.")}
    ratio = FACTS["cases"][case]["ratio"]
    assert 1 - constants["q"] ** -(stage + 1) == pytest.approx(ratio)
    objective = TruncatedConsistency(**constants, distance=distance)
    levels = known["sigma_t"].where(~known["boundary"], 1.0)
    monkeypatch.setattr(TruncatedConsistency, "levels", lambda self, uniform, at_boundary: levels)
    student, earlier = (build_preconditioner({"name": "edm"}, Toy(name)) for name in ("student", "teacher"))
    networks = Networks(student, student, None, build_distance(distance), {}, earlier=earlier)
    gap = tuned_gap(levels, stage, constants["q"], 8.0, 1.0)
    torch.testing.assert_close(levels - gap, known["sigma_r"], rtol=1e-6, atol=1e-7)
    rng = Told(known["noise"], known["boundary"])
    loss = objective(networks, Batch(known["x0"]), Progress(stage, 8, stage, 8), rng)
    torch.testing.assert_close(loss.mean(), known["total"], rtol=1e-6, atol=0)
    kinds = torch.where(known["boundary"], 0.1 / 0.25, 1 / 0.75)
    torch.testing.assert_close(loss / kinds, known["loss"], rtol=1e-6, atol=1e-9)
    loss.mean().backward()
    gradients = student.network.w
    for name in ("b1", "w3"):
        torch.testing.assert_close(gradients[name].grad, known[f"grad.{name}"], rtol=1e-5, atol=1e-8)
    norm = torch.stack([p.grad.square().sum() for p in student.parameters() if p.grad is not None]).sum().sqrt()
    torch.testing.assert_close(norm, known["grad_norm"], rtol=1e-6, atol=0)
    assert all(p.grad is None for p in earlier.parameters())


class Function(nn.Module):
    """A function of (x, sigma, labels) that can be scaled."""

    sigma_data = 0.5

    def __init__(self, function):
        super().__init__()
        self.function, self.scale = function, nn.Parameter(torch.ones((), dtype=torch.float64))
        self.seen = []

    def forward(self, x, sigma, labels=None):
        self.seen.append((x, sigma))
        return self.scale * self.function(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


SIZE, DATA = 256, Gaussian(0.1, 0.5)


def loss_of(objective, student, earlier, step=0, distance="l1"):
    x0 = DATA.mean + DATA.std * torch.randn(SIZE, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    networks = Networks(student, student, None, build_distance(distance), {}, earlier=earlier)
    return objective(networks, Batch(x0), Progress(step, 16, step, 16), Float64(0, 0, SIZE, slice(0, SIZE)))


@pytest.mark.parametrize("step", [0, 15])
def test_without_a_boundary_and_with_the_students_own_first_stage_it_is_ect(step):
    student = Function(lambda x, sigma: (sigma[:, None] / 3).sin() * x)
    loss = loss_of(TruncatedConsistency(transition=0.01, boundary_share=0.0), student, student, step)
    (x_next, after), _, (x, sigma) = student.seen
    ect = EasyConsistencyTuning()
    gap = ect.gap(sigma, Progress(step, 16, step, 16))
    torch.testing.assert_close(sigma - after, gap, rtol=1e-9, atol=1e-12)
    bare = (student(x, sigma) - student(x_next, after)).abs().mean(1)
    torch.testing.assert_close(loss, bare / gap, rtol=1e-9, atol=0)


def test_below_the_transition_the_target_is_the_first_stage_and_above_it_the_student():
    student, earlier = (Function(lambda x, sigma, k=k: k + 0 * x) for k in (2.0, 5.0))
    loss = loss_of(TruncatedConsistency(transition=1.0, boundary_share=0.25), student, earlier, step=15)
    (_, after), (_, sigma) = student.seen
    low = after < 1
    assert (sigma >= 1).all() and low.any() and not low.all() and low[sigma == 1].all()
    assert (loss[~low] == 0).all() and (loss[low] > 0).all()
    assert 0.15 < (sigma == 1).double().mean() < 0.35


def test_at_the_exact_function_the_gradient_vanishes_as_the_levels_meet():
    """Its limit is that of consistency training: the gradient's mean falls with t - r, up to the noise of the batch."""
    exact = DATA.consistency(0.0)
    grads = []
    for step in (0, 15):
        student = Function(exact)
        loss_of(TruncatedConsistency(distance="l2"), student, Function(exact), step, "l2").mean().backward()
        grads.append(student.scale.grad.abs().item())
    assert grads[1] < grads[0] / 5


def test_the_levels_have_students_distribution_cut_at_both_ends():
    from scipy import stats

    law, (low, high) = stats.t(2.0, -1.0, 0.5), (0.3, 80.0)
    uniform = torch.linspace(0, 1, 11, dtype=torch.float64)
    below, above = law.cdf(torch.tensor([low, high]).double().log())
    exact = torch.from_numpy(law.ppf(below + uniform.numpy() * (above - below))).exp()
    levels = log_student_levels(uniform, 2.0, -1.0, 0.5, low, high)
    torch.testing.assert_close(levels, exact, rtol=2e-3, atol=0)
    assert levels[0].item() == pytest.approx(low) and levels[-1].item() == pytest.approx(high)
    assert 1 <= log_student_levels(torch.tensor([0.999999]), 0.01, 0.0, 0.2, 1.0, 80.0) <= 80


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"transition": 80.0}, r"transition must be above sigma_min \(0.002\) and below sigma_max \(80.0\), got 80.0"),
        ({"transition": 0.001}, r"transition must be above sigma_min"),
        ({"boundary_share": 1.0}, "boundary_share must be at least 0 and below 1, got 1.0"),
        ({"weight": "gaps"}, "Did you mean 'gap'"),
        ({"first_stage": 8}, r"first_stage must be at least 0 and below num_stages \(8\), got 8"),
    ],
)
def test_wrong_constants_are_refused_in_words(constants, message):
    with pytest.raises(ValueError, match=message):
        build_objective({"name": "truncated_consistency", **constants})
