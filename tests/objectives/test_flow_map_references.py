"""Flow maps against the numbers of the authors' code, float64: the seeded inputs and outputs of tests/reference/losses.

Their network is the average velocity u of (z, t, r), t = 1 the noise. `Toy` is the network with which our wrapper's
average velocity is theirs: it undoes the wrapper's scaling, and finds t and r from the two noise conditions.
"""

import json
import math
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewstep.diffusion.level_pairs import flow_time, level_at
from fewstep.losses.jumps import Jumps, two_jumps
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.mean_flow import MeanFlow
from fewstep.objectives.shortcut import Shortcut
from fewstep.objectives.solution_flow import SolutionFlow
from fewstep.preconditioning import build_preconditioner

FOLDER = Path(__file__).parents[1] / "reference" / "losses"
PROGRESS = Progress(0, 10, 0, 10)
NEAR = {"rtol": 1e-6, "atol": 1e-7}
STRAIGHT = {"level_mean": 0.0, "level_std": 1.0, "next_mean": 0.0, "next_std": 1.0, "pairs": "capped"}


def cases(name: str) -> dict[str, dict]:
    """The settings of each case of a file."""
    return json.loads((FOLDER / f"{name}.json").read_text())["cases"]


class Case:
    """The tensors of one case, as attributes and items."""

    def __init__(self, name: str, case: str):
        self.tensors = {
            key.removeprefix(f"{case}."): value
            for key, value in load_file(FOLDER / f"{name}.safetensors").items()
            if key.startswith(f"{case}.")
        }

    def __getitem__(self, key: str) -> torch.Tensor:
        return self.tensors[key]


class Toy(nn.Module):
    """The authors' toy network of (z, t, r, label). times: (t, r) -> its two numbers. null: whether no label is
    one. sign: -1 where its velocity leads from noise to data."""

    c_noise = "log"

    def __init__(self, times=lambda t, r: (t, r), null=False, weights="student", sign=1):
        super().__init__()
        self.sign = sign
        found = load_file(FOLDER / "toy_networks.safetensors").items()
        weights = f"{weights}."
        self.w = nn.ParameterDict({k.removeprefix(weights): v for k, v in found if k.startswith(weights)})
        self.times, self.null = times, null

    def velocity(self, z, t, r, labels):
        a, b = self.times(t, r)
        w = self.w
        hidden = z.flatten(1) @ w["w1"].T + a.reshape(-1, 1) * w["u1"][:, 0] + b.reshape(-1, 1) * w["u1"][:, 1]
        hidden = hidden + w["b1"]
        if labels is not None:
            hidden = hidden + labels @ w["e1"][:3]
            if self.null:
                hidden = hidden + (1 - labels.sum(1, keepdim=True)) * w["e1"][3]
        hidden = (hidden.tanh() @ w["w2"].T + w["b2"]).tanh()
        return self.sign * (hidden @ w["w3"].T + w["b3"]).unflatten(1, (3, 4, 4))

    def forward(self, u, c_noise, labels=None, second=None):
        sigma, sigma_next = ((4 * condition).exp() for condition in (c_noise, second))
        level = sigma.reshape(-1, 1, 1, 1)
        deviation = (level**2 + 0.25).sqrt()
        x = u * deviation
        velocity = self.velocity(x / (1 + level), flow_time(sigma), flow_time(sigma_next), labels)
        return ((level - 0.25) / deviation**2 * x - velocity) * deviation / (0.5 * (1 + level))


class Scripted:
    """The random numbers of a step, as the authors drew them. flow: how many rows are flow matching, the first ones."""

    def __init__(self, *normals, flow=0):
        self.normals, self.flow = list(normals), flow

    def normal(self, _):
        return self.normals.pop(0)

    def parted(self, _):
        rows = torch.arange(len(self.normals[0] if self.normals else self.size))
        return rows[: self.flow], rows[self.flow :]

    def dropout(self):
        return nullcontext()


class Drawn(Scripted):
    """Of a case: its t and r as normals of their logits, and its noise."""

    def __init__(self, case: Case, end: str = "r", flow: int = 0):
        self.size = case["t"]
        super().__init__(case["t"].logit(), case[end].logit(), case["noise"], flow=flow)


def one_hot(y: torch.Tensor) -> torch.Tensor:
    """Rows of labels; a row of zeros for 3, no label."""
    return torch.eye(4, dtype=torch.float64)[y][:, :3]


def student_of(toy: Toy):
    return build_preconditioner({"name": "trajectory"}, toy)


def loss_of(objective, toy, case, rng, labels=None, progress=PROGRESS):
    student = student_of(toy)
    return objective(Networks(student, student, None, None, {}), Batch(case["x0"], labels), progress, rng)


def check_gradients(loss: torch.Tensor, toy: Toy, case: Case, prefix: str = "grad"):
    """Those of the mean loss by the student's weights."""
    toy.zero_grad()
    loss.mean().backward()
    for name in ("u1", "b1", "w3"):
        torch.testing.assert_close(toy.w[name].grad, case[f"{prefix}.{name}"], **NEAR)
    norm = torch.stack([p.grad.norm() for p in toy.parameters() if p.grad is not None]).norm()
    torch.testing.assert_close(norm, case[f"{prefix}_norm"], **NEAR)


@pytest.fixture
def targets(monkeypatch):
    """The velocities and targets that MeanFlow compares."""
    seen, weighted = [], MeanFlow.weighted

    def watched(self, velocity, target):
        seen.append((velocity.detach(), target))
        return weighted(self, velocity, target)

    monkeypatch.setattr(MeanFlow, "weighted", watched)
    return seen


@pytest.mark.parametrize("name", cases("meanflow_py"))
def test_mean_flow_is_that_of_its_authors(name, targets):
    case, settings = Case("meanflow_py", name), cases("meanflow_py")[name]
    toy = Toy(lambda t, r: (t, t - r))
    constants = {"error_power": settings["norm_p"], "error_constant": settings["norm_eps"]}
    loss = loss_of(MeanFlow(from_data=True, **STRAIGHT, **constants), toy, case, Drawn(case))
    ((velocity, target),) = targets
    torch.testing.assert_close(velocity, case["u"], **NEAR)
    torch.testing.assert_close(target, case["target"], **NEAR)
    torch.testing.assert_close(loss, case["loss"], **NEAR)
    check_gradients(loss, toy, case)


@pytest.mark.parametrize("name", ["unlabelled", "labelled", "guided", "uniform_weight"])
def test_mean_flow_guides_its_own_target_as_published(name, targets):
    """zhuyu-cs/MeanFlow squares the error once more, so that errors and targets are compared."""
    case, settings = Case("meanflow_zhuyu", name), cases("meanflow_zhuyu")[name]
    own = {"omega": settings.get("cfg_omega", 1.0), "kappa": settings.get("cfg_kappa", 0.0)}
    objective = MeanFlow(from_data=True, error_power=0.0, guided_levels=(0.002, 4.0), **own, **STRAIGHT)
    labels = None if name in ("unlabelled", "uniform_weight") else one_hot(case["y_after_dropout"])
    toy = Toy(null=True)
    error = loss_of(objective, toy, case, Drawn(case), labels)
    ((velocity, target),) = targets
    torch.testing.assert_close(velocity, case["u"], **NEAR)
    torch.testing.assert_close(error, case["squared_error"], **NEAR)
    torch.testing.assert_close((2 * (velocity - target)).sum(0).flatten(), case["two_error_sum"], **NEAR)


@pytest.mark.parametrize("name", cases("alphaflow"))
def test_alpha_flow_is_that_of_its_authors(name, targets):
    """From trajectory flow matching (alpha 1) to MeanFlow (0); two samples are flow matching."""
    case, settings = Case("alphaflow", name), cases("alphaflow")[name]
    known = {key: settings[key] for key in ("alpha", "clamp", "omega", "kappa")}
    known["guided_levels"] = (0.002, 4.0) if "t_max" in settings else None
    objective = MeanFlow(from_data=True, error_power=1.0, error_constant=48 * settings["eps"], **known, **STRAIGHT)
    labels = one_hot(case["y"]) if "y" in case.tensors else None
    toy = Toy()
    loss = loss_of(objective, toy, case, Drawn(case, flow=2), labels)
    torch.testing.assert_close(torch.cat([target for _, target in targets]), case["target"], **NEAR)
    torch.testing.assert_close(loss, case["loss"], **NEAR)
    check_gradients(loss, toy, case)


def test_alpha_falls_as_published():
    known = json.loads((FOLDER / "alphaflow.json").read_text())["alpha_schedule"]
    objective = MeanFlow(alpha=(0.0, 0.8), sharpness=known["gamma"])
    found = [objective.alpha_at(Progress(step, 500_000, step, 500_000)) for step in known["steps"]]
    assert found == pytest.approx(known["alpha"], abs=1e-12)
    assert MeanFlow(alpha=0.25).alpha_at(PROGRESS) == 0.25


@pytest.mark.parametrize("name", ["linear_euler", "linear_euler_p0", "guided"])
def test_solution_flow_is_that_of_its_authors(name):
    """Our loss has their gradient, and as its value half of the weighted square, where theirs says nothing of an error.

    The guided velocity of the third case is made here from their formula: only the losses are ours.
    """
    case, settings = Case("soflow", name), cases("soflow")[name]
    labels = one_hot(case["y"].masked_fill(case["dropped"], 3)) if name == "guided" else None
    toy, t, s = Toy(null=True), case["t"], case["s"]
    student, sigma = student_of(toy), level_at(t)
    x = case["x0"] + sigma.view(-1, 1, 1, 1) * case["noise"]
    velocity = case["noise"] - case["x0"]
    if name == "guided":
        velocity = guided_velocity(student, x, sigma, labels, velocity, case, settings)
    denoised = (x - sigma.view(-1, 1, 1, 1) * velocity) / (1 + sigma.view(-1, 1, 1, 1))
    jumps = Jumps(x, sigma, level_at(s), denoised, labels)
    objective = SolutionFlow(error_power=settings["p"], error_constant=settings["eps"])

    loss = objective.flow_loss(student, Scripted(), jumps)
    torch.testing.assert_close(loss.mean(), case["velocity_loss"], **NEAR)
    check_gradients(loss, toy, case, "velocity.grad")

    ratio = (t - case["l"]) / (t - s)
    target = two_jumps(student, jumps, velocity, ratio, Scripted())
    u = student.average_velocity(x, sigma, level_at(s), labels)
    torch.testing.assert_close(u, case["network_at_t_s"], **NEAR)
    q = ((target - u) / ratio.view(-1, 1, 1, 1)).detach()
    square = q.square().flatten(1).mean(1)
    weight = (square + settings["eps"]) ** -settings["p"]
    torch.testing.assert_close(square.mean(), case["consistency_mean_square"], **NEAR)
    torch.testing.assert_close(-(weight * (u * q).flatten(1).mean(1)).mean(), case["consistency_loss"], **NEAR)
    # each row has its own ratio there, and a step of ours one for all
    rows = [jumps.at(torch.tensor([row])) for row in range(len(t))]
    losses = [objective.jump_loss(student, Scripted(), float(r), row) for r, row in zip(ratio, rows, strict=True)]
    torch.testing.assert_close(torch.cat(losses), weight * square / 2, **NEAR)
    check_gradients(torch.cat(losses), toy, case, "consistency.grad")


def guided_velocity(student, x, sigma, labels, velocity, case, settings):
    """mix (v + decay (scale - 1) (v - v_null)) + (1 - mix) v_own, in rows with a label."""
    with torch.no_grad():
        own, null = (student.average_velocity(x, sigma, sigma, y) for y in (labels, torch.zeros_like(labels)))
    decay = case["guidance_decay"].view(-1, 1, 1, 1) * (settings["cfg_scale"] - 1)
    mixed = settings["mix"] * (velocity + decay * (velocity - null)) + (1 - settings["mix"]) * own
    return torch.where(case["dropped"].view(-1, 1, 1, 1), velocity, mixed)


def test_the_middle_time_of_solution_flow_falls_as_published():
    names = {"Const": "constant", "Linear": "linear", "Cosine": "cosine", "Exponent": "exponential"}
    for known in json.loads((FOLDER / "soflow.json").read_text())["middle_time"]:
        ends = {"ratio_start": known["init"], "ratio_end": known["end"]}
        objective = SolutionFlow(schedule=names[known["method"]], **ends)
        ratio = objective.ratio(Progress(known["step"], known["total"], 0, 1))
        assert known["t"] + (known["s"] - known["t"]) * ratio == pytest.approx(known["l"], abs=1e-12)


@pytest.mark.parametrize("name", ["plain", "ema_dt_bias"])
def test_shortcut_is_that_of_its_authors(name):
    """Their time is 1 at the data, and the second number is minus log2 of the step: that of T where r = t.

    Their noise is (1 - 1e-5) of what it says, which is that of data with 1e-5 of the noise. sigma_max stands for
    infinity.
    """
    case, settings = Case("shortcut", name), cases("shortcut")[name]
    steps, count = settings["denoise_timesteps"], len(case["dt_level"])
    ours = Shortcut(steps=steps, sigma_min=1e-12, sigma_max=1e12)

    def times(t, r):
        return 1 - t, torch.where(t - r < 1e-6, math.log2(steps), -(t - r).clamp_min(1e-9).log2()).round()

    student, other = (student_of(Toy(times, True, weights, sign=-1)) for weights in ("student", "teacher"))
    target = other if settings["bootstrap_ema"] else student
    t = (1 - case["t"]).clamp(1e-12, 1 - 1e-12)
    boot = torch.arange(count) < count // settings["bootstrap_every"]
    half = int(boot.sum())  # the other rows are flow matching on the first images again
    noise = torch.cat([case["bootstrap_noise"], case["flow_noise"][: count - half]])
    x0 = torch.cat([case["images"][:half], case["images"][: count - half]]) + 1e-5 * noise
    sigma = level_at(t)
    x = case["x_t"] * (1 + sigma).view(-1, 1, 1, 1)
    size = 2.0 ** -case["dt_level"].double()
    jumps = Jumps(x, sigma, level_at((t - size).clamp_min(1e-12)), x0, one_hot(case["labels_used"]))
    boots, flows = boot.nonzero().flatten(), (~boot).nonzero().flatten()
    share = torch.full((len(boots),), 0.5, dtype=torch.float64)
    losses = torch.cat(
        [
            ours.jump_loss(student, target, Scripted(), share, jumps.at(boots)),
            ours.flow_loss(student, Scripted(), jumps.at(flows)),
        ]
    )
    torch.testing.assert_close(losses, case["loss"], **NEAR)
