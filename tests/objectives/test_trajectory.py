"""CTM on Gaussian data, whose jumps are the exact flow: float64."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import StepRandomness
from fewstep.diffusion.solvers import SOLVERS
from fewstep.losses.balance import adaptive_weight, linearised
from fewstep.losses.distances import build_distance
from fewstep.networks import build_network
from fewstep.networks.discriminator import Discriminator
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.consistency_trajectory import ConsistencyTrajectory
from fewstep.preconditioning import build_preconditioner

SIZE = 512
DATA = Gaussian(mean=0.1, std=0.3)
PROGRESS = Progress(0, 10, 0, 10)
POINTS = {"name": "mlp", "channels": 8}


class Exact(nn.Module):
    """The network whose wrapped function is the exact flow between two levels, plus `bend`."""

    def __init__(self, bend: float = 0.0):
        super().__init__()
        self.last_layer = nn.Parameter(torch.tensor(bend, dtype=torch.float64))

    def forward(self, u, c_noise, labels=None, second=None):
        t, s = (4 * c_noise).exp(), (4 * second).exp()
        radius = (t**2 + 0.25).sqrt()[:, None]
        x, kept = u * radius, (s / t)[:, None]
        straight = (DATA.flow(x, t, s) - kept * x) / (1 - kept).where(kept < 1, 1)
        clean = torch.where(s[:, None] == t[:, None], DATA.denoiser(x, t), straight)
        return (clean - 0.25 / radius**2 * x) / (t[:, None] * 0.5 / radius) + self.last_layer * u.sin()


class Teacher(nn.Module):
    network = None

    def forward(self, x, sigma, labels=None, sigma_next=None):
        return DATA.denoiser(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


class Watched(nn.Module):
    """A function that remembers the levels that it is called with."""

    def __init__(self, function):
        super().__init__()
        self.function, self.seen, self.network, self.sigma_data = function, [], function.network, 0.5

    def forward(self, x, sigma, labels=None, sigma_next=None):
        self.seen.append((sigma, sigma_next))
        return self.function(x, sigma, labels, sigma_next=sigma_next)


class Judge(nn.Module):
    """A discriminator whose output is one weight times the mean of what it judges."""

    def __init__(self, scale=1.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, x, labels=None):
        return self.scale * x.mean(1)


def function(bend: float = 0.0):
    return build_preconditioner({"name": "trajectory"}, Exact(bend))


def networks_of(bend=0.0, target_bend=None, distance="l2", **modules) -> Networks:
    target = function(bend if target_bend is None else target_bend).requires_grad_(False)
    return Networks(function(bend), target, Teacher(), build_distance(distance), modules)


def data(dimensions=2):
    noise = torch.randn(SIZE, dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    return Batch(DATA.mean + DATA.std * noise)


def rng(rows=slice(0, SIZE), step=0):
    return Float64(0, step, SIZE, rows)


def loss_of(objective, networks, progress=PROGRESS):
    return objective(networks, data(), progress, rng())


SOFT = dict(denoising=0.0, distance="l2")


def test_jumps_at_the_solution_are_the_flow_compose_and_know_the_score():
    exact, x = function(), 2 * torch.randn(SIZE, 2, dtype=torch.float64)
    t, s, r = (torch.full((SIZE,), level, dtype=torch.float64) for level in (20.0, 0.7, 0.01))
    direct = exact(x, t, sigma_next=r)
    torch.testing.assert_close(direct, DATA.flow(x, t, r), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(exact(exact(x, t, sigma_next=s), s, sigma_next=r), direct, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(exact(x, t), DATA.consistency(exact.boundary)(x, t), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(exact.denoiser(x, s), DATA.denoiser(x, s), rtol=1e-10, atol=1e-12)
    near = exact(x, s, sigma_next=0.9999 * s)
    torch.testing.assert_close(
        (x - near) / (1e-4 * s[:, None]), (x - DATA.denoiser(x, s)) / s[:, None], rtol=1e-3, atol=1e-3
    )


def test_the_soft_term_at_the_solution_is_zero_with_the_exact_solver(monkeypatch):
    def exactly(denoiser, x, sigma, sigma_next):
        return DATA.flow(x, sigma, sigma_next)

    monkeypatch.setitem(SOLVERS, "exact", exactly)
    objective = ConsistencyTrajectory(solver="exact", **SOFT)
    assert loss_of(objective, networks_of()).max() < 1e-24
    assert loss_of(objective, networks_of(bend=0.1)).mean() > 1e-6, "a jump that does not compose"
    assert loss_of(objective, networks_of(target_bend=0.1)).mean() > 1e-6


def test_the_inner_jump_is_the_targets_or_the_students_without_gradient():
    def loss_and_gradient(whose, target_bend):
        networks = networks_of(bend=0.3, target_bend=target_bend)
        watched = replace(networks, student=Watched(networks.student))
        loss = loss_of(ConsistencyTrajectory(inner_jump=whose, **SOFT), watched).mean()
        loss.backward()
        assert len(watched.student.seen) == 1 + (whose == "student")
        return loss.detach(), networks.student.network.last_layer.grad

    apart = [loss_and_gradient(whose, target_bend=0.1) for whose in ("target", "student")]
    assert (apart[0][0] - apart[1][0]).abs() > 1e-4 * apart[0][0]
    alike = [loss_and_gradient(whose, target_bend=0.3) for whose in ("target", "student")]
    torch.testing.assert_close(*alike, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("solver", "exponent"), [("heun", 6), ("euler", 4)])
def test_the_soft_term_falls_with_the_order_of_the_teachers_step(solver, exponent):
    losses = [
        loss_of(ConsistencyTrajectory(num_levels=n, solver=solver, solver_steps=1, **SOFT), networks_of()).mean()
        for n in (81, 1281)
    ]
    assert torch.log2(losses[0] / losses[1]).item() / 4 == pytest.approx(exponent, abs=0.25)


def test_levels_descend_from_t_over_u_to_s_on_the_grid_and_reach_its_ends():
    objective, grid, counts = ConsistencyTrajectory(num_levels=7, solver_steps=4), karras_levels(7), []
    firsts, lasts = [], []
    for step in range(200):
        levels = torch.stack(objective.levels(rng(step=step), torch.zeros(1, dtype=torch.float64)))
        *solver, last = torch.searchsorted(-grid, -levels)
        assert torch.equal(grid[torch.stack([*solver, last])], levels)
        counts.append(len(solver) - 1)
        assert all(torch.equal(solver[0] + place, index) for place, index in enumerate(solver))
        assert (last >= solver[-1]).all() and last.max() == 6
        firsts.append(solver[0].bincount(minlength=7) / SIZE)
        lasts.append((last == solver[-1]).double().mean())
    shares = torch.tensor(counts).bincount(minlength=5)[1:] / 200
    assert shares.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4], abs=0.1), "in proportion to their number"
    assert firsts[counts.index(4)].tolist() == pytest.approx([1 / 3] * 3 + [0] * 4, abs=0.1)
    assert 0.2 < torch.stack(lasts).mean() < 0.8, "s may be u"


def test_workers_take_as_many_steps_of_the_solver_and_the_levels_of_the_whole_batch():
    objective, like = ConsistencyTrajectory(), torch.zeros(1, dtype=torch.float64)
    whole = torch.stack(objective.levels(rng(), like))
    parts = [torch.stack(objective.levels(rng(rows), like)) for rows in (slice(0, 200), slice(200, SIZE))]
    assert torch.equal(torch.cat(parts, 1), whole)


def test_the_target_is_reached_by_the_teacher_and_two_jumps_the_estimate_by_the_students_and_one():
    networks = networks_of()
    student, target = Watched(networks.student), Watched(networks.target)
    teacher = Watched(Teacher())
    loss_of(ConsistencyTrajectory(**SOFT), Networks(student, target, teacher, networks.distance, {}))
    (t, s), *again = student.seen
    assert not again and len(target.seen) == 3
    (u, s_too), (from_s, boundary), (from_s_too, boundary_too) = target.seen
    assert boundary is None and boundary_too is None
    assert all(torch.equal(s, level) for level in (s_too, from_s, from_s_too))
    assert torch.equal(teacher.seen[0][0], t) and torch.equal(teacher.seen[-1][0], u), "Heun's last slope is at u"
    assert ((t > u) & (u >= s)).all()


def test_gradients_pass_through_the_target_and_leave_it_alone():
    networks = networks_of(bend=0.1)
    loss_of(ConsistencyTrajectory(**SOFT), networks).mean().backward()
    assert networks.student.network.last_layer.grad.abs() > 0
    assert networks.target.network.last_layer.grad is None


def test_a_linearised_loss_has_its_value_and_gradient_and_no_graph_beyond():
    weights = nn.Parameter(W.clone())
    at = H * weights
    loss = at.square().sum(1).sin()
    (gradient,) = torch.autograd.grad(loss.mean(), weights, retain_graph=True)
    short = linearised(loss, at)
    assert torch.equal(short, loss)
    del loss
    torch.testing.assert_close(torch.autograd.grad(short.mean(), weights)[0], gradient)


def test_half_of_the_denoising_levels_are_lognormal_and_half_on_the_high_part_of_the_grid():
    draws = StepRandomness(0, 0, 200_000, slice(0, 200_000))
    sigma = ConsistencyTrajectory().denoising_levels(draws)
    assert sigma.isfinite().all()

    def above(level):
        lognormal = 0.5 * math.erfc((math.log(level) + 1.2) / 1.2 / math.sqrt(2))
        ends = [80 ** (1 / 7), 0.002 ** (1 / 7)]
        high = min(1.0, (ends[0] - level ** (1 / 7)) / (ends[0] - ends[1]) / 0.7)
        return (lognormal + high) / 2

    for level in (0.1, 0.318, 1.0, 20.0, 60.0):
        assert (sigma > level).double().mean().item() == pytest.approx(above(level), abs=0.005)


def test_the_denoising_term_is_edms_loss_of_the_score():
    """At the solution it is the weighted variance of x0 given x."""
    objective = ConsistencyTrajectory()
    score = objective.denoising_loss(networks_of(), data(1000), rng())
    draws = rng()
    sigma = objective.denoising_levels(draws)
    variance = DATA.std**2 * sigma**2 / (DATA.std**2 + sigma**2)
    expected = (sigma**2 + 0.25) / (sigma * 0.5) ** 2 * variance
    assert (score / expected).mean().item() == pytest.approx(1, rel=0.01)


H = torch.tensor([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0], [-2.0, 1.0]], dtype=torch.float64)  # what a first layer gave
Y = torch.tensor([1.0, -1.0, 2.0, 0.0], dtype=torch.float64)
W = torch.tensor([0.3, -0.2], dtype=torch.float64)


def two_losses(rows=slice(None)):
    """Of a second layer of weights W: (W h - y)^2 and W h; and W."""
    weights = nn.Parameter(W.clone())
    output = H[rows] @ weights
    return (output - Y[rows]) ** 2, 0.5 * output, weights


def test_the_adaptive_weight_is_the_ratio_of_gradients_at_the_last_layer():
    first, second, weights = two_losses()
    by_hand = (2 * ((H @ W - Y)[:, None] * H).mean(0)).norm() / ((0.5 * H.mean(0)).norm() + 1e-4)
    found = adaptive_weight(first, second, weights, torch.Tensor.detach)
    assert found.item() == pytest.approx(by_hand.item(), rel=1e-12) and not found.requires_grad
    assert adaptive_weight(first, 0 * second, weights, torch.Tensor.detach) == pytest.approx(1e4), "no more than that"


def test_the_adaptive_weight_is_that_of_all_workers():
    whole = adaptive_weight(*two_losses(), torch.Tensor.detach)
    halves = [two_losses(rows) for rows in (slice(0, 2), slice(2, 4))]
    gradients = [
        [torch.autograd.grad(loss.mean(), weights, retain_graph=True)[0] for loss in losses]
        for *losses, weights in halves
    ]
    means = iter([sum(pair) / 2 for pair in zip(*gradients, strict=True)])
    assert adaptive_weight(*halves[0], lambda gradient: next(means)).item() == pytest.approx(whole.item(), rel=1e-12)
    alone = [adaptive_weight(*half, torch.Tensor.detach).item() for half in halves]
    assert abs(sum(alone) / 2 - whole.item()) > 0.05 * whole.item()


def test_the_loss_is_the_soft_term_and_the_weighed_score():
    objective, networks, draws = ConsistencyTrajectory(denoising=2.0), networks_of(bend=0.1), rng()
    soft, *_ = objective.soft_consistency(networks, data(), draws)
    score = objective.denoising_loss(networks, data(), draws)
    weight = adaptive_weight(soft, score, networks.student.network.last_layer, torch.Tensor.detach)
    assert 0 < weight < 1e4
    torch.testing.assert_close(loss_of(objective, networks), soft + 2 * weight * score)


GAN = ConsistencyTrajectory(gan=True, gan_start=0.5, denoising=0.0)
LATE = Progress(5, 10, 5, 10)


def test_the_adversarial_losses_are_hinges_and_each_reaches_its_own():
    networks = networks_of(bend=0.1, discriminator=Judge(3.0))
    losses = loss_of(GAN, networks, LATE)
    soft, _, estimate = GAN.soft_consistency(networks, data(), rng())
    real, fake = 3 * data().x0.mean(1), 3 * estimate.detach().mean(1)
    torch.testing.assert_close(losses["discriminator"], (1 - real).clamp(0) + (1 + fake).clamp(0))
    mine, its = networks.student.network.last_layer, networks.modules["discriminator"].scale
    weight = adaptive_weight(soft, -3 * estimate.mean(1), mine, torch.Tensor.detach).clamp(0.01, 10)
    torch.testing.assert_close(losses["student"], soft - weight * fake)
    losses["student"].mean().backward(retain_graph=True)
    assert its.grad is None and mine.grad.abs() > 0
    mine.grad = None
    losses["discriminator"].mean().backward()
    assert mine.grad is None and its.grad.abs() > 0


@pytest.mark.parametrize(("scale", "least", "most"), [(1e-9, 10, 10), (1e9, 0.01, 0.01), (0.1, 0.01, 10)])
def test_the_weight_of_the_adversarial_loss_is_clipped(scale, least, most):
    networks = networks_of(bend=0.1, discriminator=Judge(scale))
    soft, _, estimate = GAN.soft_consistency(networks, data(), rng())
    added = loss_of(GAN, networks, LATE)["student"] - soft
    weight = (added / (-scale * estimate.mean(1))).median().item()
    assert least * 0.99 <= weight <= most * 1.01


def test_the_discriminator_is_idle_until_its_time():
    networks = networks_of(bend=0.1, discriminator=Judge())
    early = loss_of(GAN, networks, Progress(4, 10, 4, 10))
    assert isinstance(early, torch.Tensor)
    early.mean().backward()
    assert networks.modules["discriminator"].scale.grad is None
    assert GAN.has_idle_modules and not ConsistencyTrajectory().has_idle_modules
    assert ConsistencyTrajectory().modules(None, 1.0) == {}


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (2,)])
@pytest.mark.parametrize("classes", [0, 10])
def test_a_discriminator_judges_each_sample_alone_and_by_its_label(shape, classes, randomised):
    judge = randomised(Discriminator(shape, classes, channels=16), std=0.3)
    x, labels = torch.randn(4, *shape), torch.eye(10)[:4] if classes else None
    judged = judge(x, labels)
    assert judged.shape == (4,) and judged.unique().numel() == 4
    torch.testing.assert_close(judge(x[1:2], labels[1:2] if classes else None), judged[1:2], rtol=1e-4, atol=1e-4)
    if classes:
        assert not torch.isclose(judge(x, labels.roll(1, 0)), judged).any()
        assert judge(x).shape == (4,)


def test_a_pretrained_backbone_is_frozen_and_is_read_from_its_file(tmp_path):
    with pytest.raises(ValueError, match="gan_backbone must be the path of .*: no such file"):
        Discriminator((1, 16, 16), backbone=str(tmp_path / "none.pth"))
    with pytest.raises(ValueError, match=r"gan_backbone needs images of at least 8x8, got the shape \[2\]"):
        student = build_preconditioner({"name": "trajectory"}, build_network(POINTS | {"second_time": True}, (2,)))
        ConsistencyTrajectory(gan=True, gan_backbone="any").check_student(student)
    from fewstep.networks.discriminator import Backbone

    widths = {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128), 10: (128, 256), 12: (256, 256), 14: (256, 256)}
    widths |= {17: (256, 512), 19: (512, 512), 21: (512, 512)}
    published = {}
    for number, (inputs, outputs) in widths.items():
        published[f"features.{number}.weight"] = torch.randn(outputs, inputs, 3, 3) / (9 * inputs) ** 0.5
        published[f"features.{number}.bias"] = torch.zeros(outputs)
    published["classifier.0.bias"] = torch.zeros(1)
    torch.save(published, tmp_path / "vgg16.pth")
    judge = Discriminator((1, 16, 16), backbone=str(tmp_path / "vgg16.pth"))
    assert torch.equal(judge.features.features[21].weight, published["features.21.weight"])
    assert [tuple(f.shape[1:]) for f in Backbone(str(tmp_path / "vgg16.pth"))(torch.randn(2, 1, 16, 16))] == [
        (64, 16, 16),
        (128, 8, 8),
        (256, 4, 4),
        (512, 2, 2),
    ]
    judge(torch.randn(2, 1, 16, 16)).sum().backward()
    assert {n.split(".")[0] for n, p in judge.named_parameters() if p.grad is not None} == {"heads"}

    ctm = ConsistencyTrajectory(gan=True, gan_backbone=str(tmp_path / "vgg16.pth"))
    network = build_network({"name": "unet", "channels": 8, "second_time": True}, (1, 16, 16))
    scaled = ctm.modules(build_preconditioner({"name": "trajectory"}, network), 0.4)["discriminator"]
    scaled.load_state_dict(judge.state_dict())
    x = torch.rand(2, 1, 16, 16) * 2 - 1
    torch.testing.assert_close(scaled(0.4 * x), judge(x), rtol=1e-4, atol=1e-5)
    assert not torch.allclose(scaled(x), judge(x), rtol=1e-3), "it undoes the data's scale"


@pytest.mark.parametrize(
    ("constants", "message"),
    [
        ({"target_ema": 0.0}, r"target_ema must be above 0 and below 1, got 0\.0"),
        ({"solver_steps": 18}, r"solver_steps must be at least 1 and below num_levels \(18\), got 18"),
        ({"solver": "hoin"}, "no solver 'hoin'"),
        ({"gan_start": 1.0}, r"gan_start must be at least 0 and below 1, got 1\.0"),
        ({"denoising": -1.0}, r"denoising must be at least 0, got -1\.0"),
        ({"guidance": 0.0}, r"guidance must be above 0, got 0\.0"),
        ({"guidance": (2.0, 3.0)}, r"guidance must be a range that includes 1, such as \[1, 3\], got \(2\.0, 3\.0\)"),
    ],
)
def test_wrong_constants_are_refused(constants, message):
    with pytest.raises(ValueError, match=message):
        ConsistencyTrajectory(**constants)


def test_only_weights_between_losses_need_the_whole_batch():
    assert (
        ConsistencyTrajectory().needs_whole_batch and ConsistencyTrajectory(denoising=0.0, gan=True).needs_whole_batch
    )
    assert not ConsistencyTrajectory(denoising=0.0).needs_whole_batch


def test_a_network_without_a_second_time_is_refused():
    student = build_preconditioner({"name": "trajectory"}, build_network(POINTS, (2,)))
    with pytest.raises(ValueError, match=r"network\.second_time must be true: this method needs a second time input"):
        ConsistencyTrajectory().check_student(student)
