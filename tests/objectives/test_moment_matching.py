"""IMM: the authors' parametrisations, moments of known distributions, and groups that nothing cuts. float64."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import lognormal_levels_between
from fewstep.diffusion.randomness import StepRandomness
from fewstep.losses.distances import build_distance
from fewstep.losses.moments import laplace_kernel, moment_discrepancy
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.moment_matching import MomentMatching
from fewstep.preconditioning import build_preconditioner
from fewstep.training.hyperparameters import TrainingSettings

FOLDER = Path(__file__).parents[1] / "reference" / "losses"
NUMBERS = load_file(FOLDER / "imm_parametrisation.safetensors")
CASES = {  # the preconditioner, what the network is told of s, and its sign: their c_out is below 0
    "fm_simple_edm": ("trajectory", lambda t, s: s, -1),
    "fm_euler": ("euler_trajectory", lambda t, s: t - s, 1),
}


def flow_time(condition):
    """t of the noise condition ln(sigma) / 4, where the noise has deviation .5."""
    sigma = (4 * condition).exp()
    return sigma / (sigma + 0.5)


class Toy(nn.Module):
    """The network of the reference values, of (x, t, s or t - s, label)."""

    c_noise = "log"

    def __init__(self, second, sign):
        super().__init__()
        found = load_file(FOLDER / "toy_networks.safetensors")
        self.w = {name.partition(".")[2]: value for name, value in found.items() if name.startswith("student.")}
        self.second, self.sign = second, sign

    def forward(self, x, c_noise, labels=None, second=None):
        w, t = self.w, flow_time(c_noise)
        times = torch.stack([t, self.second(t, flow_time(second))], 1)
        hidden = x.flatten(1) @ w["w1"].T + times @ w["u1"].T + w["b1"]
        hidden = hidden if labels is None else hidden + labels @ w["e1"][:3]
        return self.sign * ((hidden.tanh() @ w["w2"].T + w["b2"]).tanh() @ w["w3"].T + w["b3"]).view(x.shape)


@pytest.mark.parametrize("case", CASES)
def test_both_parametrisations_are_those_of_the_authors(case):
    """In their time z = (1 - t) x, with a network in float32."""
    wrapper, *network = CASES[case]
    known = {name.partition(".")[2]: value for name, value in NUMBERS.items() if name.startswith(f"{case}.")}
    function, labels = build_preconditioner({"name": wrapper}, Toy(*network)), torch.eye(3).double()[known["y"]]

    def push(z, t, s):
        t, s = (torch.as_tensor(each, dtype=torch.float64).expand(len(z)) for each in (t, s))
        sigma, last = (0.5 * each / (1 - each) for each in (t, s))
        jump = function(z.double() / (1 - t).view(-1, 1, 1, 1), sigma, labels, sigma_next=last)
        return (1 - s).view(-1, 1, 1, 1) * jump

    near = {"rtol": 2e-5, "atol": 2e-5}
    torch.testing.assert_close(push(known["x_t"], known["t"], known["s"]), known["f"], **near)
    end = 0.006 if case == "fm_simple_edm" else 1e-12  # their eps; ours has no level 0
    torch.testing.assert_close(push(known["noise"], 0.994, end), known["push_1"], **near)
    middle = 1.4 / (1 + 1.4)
    torch.testing.assert_close(push(push(known["noise"], 0.994, middle), middle, end), known["push_2"], **near)


@pytest.mark.parametrize("wrapper", ["trajectory", "euler_trajectory"])
def test_a_kernel_measures_in_outputs_of_the_network(wrapper):
    """Reach is what the network's output is multiplied by."""

    class Constant(nn.Module):
        def __init__(self, value):
            super().__init__()
            self.value = value

        def forward(self, x, c_noise, labels=None, second=None):
            return self.value + 0 * x

    x, sigma, last = torch.randn(5, 3).double(), torch.rand(5).double() + 1, torch.rand(5).double()
    one, two = (build_preconditioner({"name": wrapper}, Constant(value)) for value in (1.0, 3.0))
    apart = two(x, sigma, sigma_next=last) - one(x, sigma, sigma_next=last)
    torch.testing.assert_close(apart, 2 * one.reach(sigma, last)[:, None].expand(-1, 3))


def test_two_samples_of_one_distribution_differ_by_no_more_than_their_own_pairs():
    """Without the pairs of a particle with itself, which give 2 (1 - E k) / M, the mean is zero."""
    groups, size = 4000, 4
    a, b, shifted = (torch.randn(groups, size, 3, generator=torch.Generator().manual_seed(n)) for n in (1, 2, 3))
    scale = torch.full((groups,), 0.5)
    kernel = laplace_kernel(a, b, scale).mean((1, 2))
    for other, same in ((b, True), (shifted + 1, False)):
        found = moment_discrepancy(a, other, scale)
        extra = found - 2 * (1 - kernel) / size
        assert (extra.mean().abs() < 4 * extra.std() / groups**0.5) == same
    assert moment_discrepancy(a, a, scale).abs().max() < 1e-6


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


class Exact(nn.Module):
    """The exact jump of Gaussian data, scaled and shifted a little."""

    sigma_data = 0.5

    def __init__(self, data):
        super().__init__()
        self.data, self.seen = data, []
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, x, sigma, labels=None, sigma_next=None):
        self.seen.append((x, sigma, sigma_next))
        jump = self.data.flow(x, sigma, sigma_next)
        return self.data.mean + self.scale * (jump - self.data.mean)

    def reach(self, sigma, sigma_next):
        return 0.5 * (1 - sigma_next / sigma)


def loss_at(scale, particles, size, halvings=6):
    data, student = Gaussian(0.1, 0.5), Exact(Gaussian(0.1, 0.5))
    target = Exact(data)
    x0 = data.mean + data.std * torch.randn(size, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    student.scale.data += scale
    objective = MomentMatching(particles=particles, halvings=halvings, level_mean=0.0, level_std=1.0)
    networks = Networks(student, target, None, build_distance("l2"), {})
    loss = objective(networks, Batch(x0), Progress(0, 10, 0, 10), Float64(0, 0, size, slice(0, size)))
    return loss, student, target


def test_at_the_exact_jump_the_distributions_agree():
    """With many particles the loss is that of whole distributions: smallest at the exact jump."""
    losses = [loss_at(scale, 1024, 8192)[0].mean().item() for scale in (-0.2, 0.0, 0.2)]
    assert losses[1] < 0.3 * min(losses[0], losses[2])


def test_groups_share_levels_and_the_pair_its_noise():
    loss, student, target = loss_at(0.1, 4, 64)
    (x, sigma, last), (x_middle, middle, its_last) = student.seen[0], target.seen[0]
    for level in (sigma, middle, last, loss):
        grouped = level.view(-1, 4)
        assert torch.equal(grouped, grouped[:, :1].expand(-1, 4)) and len(grouped[:, 0].unique()) > 8
    assert torch.equal(last, its_last) and (last <= middle).all() and (middle <= sigma).all()
    torch.testing.assert_close(sigma - middle, torch.minimum(sigma - last, torch.full_like(sigma, 79.998 / 64)))
    noise = ((x - x_middle) / (sigma - middle)[:, None])[sigma > middle]
    assert noise.std().item() == pytest.approx(1, rel=0.3)


def test_levels_are_lognormal_below_the_first():
    high = torch.tensor([0.002, 0.01, 1.0, 80.0]).double().repeat_interleave(5000)
    uniform = torch.linspace(0, 1, 5000).double().repeat(4)
    levels = lognormal_levels_between(uniform, -1.8, 2.0, 1e-6, high)
    assert levels.isfinite().all() and (levels >= 1e-6).all() and (levels <= high).all()
    assert levels[-5000:].log().mean().item() == pytest.approx(-1.8, abs=0.05)


@pytest.mark.parametrize(
    ("batch", "workers", "micro", "fits"),
    [(64, 1, 0, True), (64, 2, 8, True), (64, 2, 2, False), (64, 32, 0, False), (12, 2, 0, False)],
)
def test_groups_that_workers_or_micro_batches_would_cut_are_refused(batch, workers, micro, fits):
    settings = TrainingSettings(batch_size=batch, micro_batch_size=micro)
    if fits:
        assert settings.micro_batches(workers, group=4) >= 1
        return
    with pytest.raises(ValueError, match="must be multiples of 4, which belong together with this method, got"):
        settings.micro_batches(workers, group=4)
