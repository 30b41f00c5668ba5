"""DMD: against the authors' numbers, and where its gradient must vanish. float64."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from fewstep.data.space import DataSpace
from fewstep.diffusion.gaussian import Gaussian
from fewstep.diffusion.levels import per_sample
from fewstep.diffusion.randomness import StepRandomness
from fewstep.objectives import Batch, Networks, Progress
from fewstep.objectives.distribution_matching import DistributionMatching
from fewstep.preconditioning import build_preconditioner
from fewstep.support.errors import InvalidInput

FOLDER = Path(__file__).parents[1] / "reference" / "losses"
NUMBERS = load_file(FOLDER / "dmd2_fastgen.safetensors")
FACTS = json.loads((FOLDER / "dmd2_fastgen.json").read_text())["cases"]
DATA, SIZE = Gaussian(mean=0.1, std=0.5), 512


class Toy(nn.Module):
    """The network of the reference values, of (x, ln(sigma) / 4, label); a row of zeros is the null label."""

    c_noise = "log"

    def __init__(self, weights: str):
        super().__init__()
        found = load_file(FOLDER / "toy_networks.safetensors")
        self.w = nn.ParameterDict({k.partition(".")[2]: v for k, v in found.items() if k.startswith(f"{weights}.")})

    def forward(self, x, c_noise, labels):
        w, null = self.w, 1 - labels.sum(1, keepdim=True)
        told = c_noise[:, None] * w["u1"][:, 0] + torch.cat([labels, null], 1) @ w["e1"]
        hidden = (x.flatten(1) @ w["w1"].T + told + w["b1"]).tanh()
        return ((hidden @ w["w2"].T + w["b2"]).tanh() @ w["w3"].T + w["b3"]).view(x.shape)


class Told:
    """Random numbers that are given: one noise after the other, and a level's place."""

    def __init__(self, *noises):
        self.noises = list(noises)

    def normal(self, shape):
        return self.noises.pop(0)

    def uniform(self):
        return torch.zeros(6)

    def dropout(self):
        return torch.enable_grad() if torch.is_grad_enabled() else torch.no_grad()


@pytest.mark.parametrize("case", FACTS)
def test_losses_and_gradients_are_those_of_the_authors(case, monkeypatch):
    known = {name.partition(".")[2]: value for name, value in NUMBERS.items() if name.startswith(f"{case}.")}
    guidance = FACTS[case]["guidance_scale"] or 1.0
    objective = DistributionMatching(student_every=1, guidance=guidance, weighted=False)

    def perturbed(self, samples, rng):
        return samples + per_sample(known["sigma"], samples) * known["noise"], known["sigma"]

    monkeypatch.setattr(DistributionMatching, "perturbed", perturbed)
    student, teacher, score = (build_preconditioner({"name": "edm"}, Toy(of)) for of in ("student", "teacher", "fake"))
    networks = Networks(student, student, teacher, nn.Identity(), {"score": score})
    labels = torch.eye(3, dtype=torch.float64)[known["y"]]
    batch = Batch(torch.zeros_like(known["noise"]), labels)
    losses = objective(networks, batch, Progress(0, 8, 0, 8), Told(known["input_noise"]))
    torch.testing.assert_close(losses["student"].mean(), known["loss"], rtol=1e-6, atol=0)
    torch.testing.assert_close(losses["score"].mean(), known["fake_loss"], rtol=1e-6, atol=0)
    (losses["student"].mean() + losses["score"].mean()).backward()
    for name in ("u1", "b1", "w3"):
        torch.testing.assert_close(student.network.w[name].grad, known[f"grad.{name}"], rtol=1e-6, atol=1e-9)
    torch.testing.assert_close(score.network.w["b3"].grad, known["fake_grad.b3"], rtol=1e-6, atol=1e-9)
    norm = torch.stack([weights.grad.norm() for weights in student.network.w.values()]).norm()
    torch.testing.assert_close(norm, known["grad_norm"], rtol=1e-6, atol=0)
    assert all(weights.grad is None for weights in teacher.parameters())


class Scaled(nn.Module):
    """Noise at sigma_max as a sample of Gaussian data, but for a scale; anything as these samples' exact denoiser."""

    sigma_data = 0.5

    def __init__(self, data=DATA, scale=1.0):
        super().__init__()
        self.data, self.scale = data, nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def forward(self, x, sigma, labels=None):
        return self.scale * (self.data.mean + self.data.std * x / sigma[:, None])


class Denoiser(Scaled):
    def forward(self, x, sigma, labels=None):
        return self.scale * self.data.denoiser(x, sigma)


class Float64(StepRandomness):
    def normal(self, shape):
        return super().normal(shape).double()


def gradient_of_scale(scale, fake):
    student = Scaled(scale=scale)
    networks = Networks(student, student, Denoiser(), nn.Identity(), {"score": fake})
    x0 = torch.zeros(SIZE, 2, dtype=torch.float64)
    objective, rng = DistributionMatching(student_every=1), Float64(0, 0, SIZE, slice(0, SIZE))
    objective(networks, Batch(x0), Progress(0, 1, 0, 1), rng)["student"].mean().backward()
    return student.scale.grad


def test_a_student_whose_samples_are_data_is_left_alone_and_another_is_moved_towards_them():
    assert gradient_of_scale(1.0, Denoiser()) == 0
    for scale in (0.8, 1.25):
        own = Gaussian(mean=scale * DATA.mean, std=scale * DATA.std)
        assert torch.sign(gradient_of_scale(scale, Denoiser(own))) == (1 if scale > 1 else -1)


def test_student_and_score_learn_in_turns():
    score, student = Denoiser(), Scaled()
    networks = Networks(student, student, Denoiser(), nn.Identity(), {"score": score})
    objective, who = DistributionMatching(student_every=3), []
    for step in range(6):
        rng = Float64(0, step, 8, slice(0, 8))
        losses = objective(networks, Batch(torch.zeros(8, 2, dtype=torch.float64)), Progress(step, 6, 0, 6), rng)
        who.append([name for name, loss in losses.items() if loss.requires_grad])
        assert losses["student"].shape == (8,)
    assert who == [["score"], ["score"], ["student"]] * 2


def test_a_student_of_several_jumps_learns_in_the_last_one_that_it_made():
    levels = []

    class Seen(Scaled):
        def forward(self, x, sigma, labels=None):
            levels.append((float(sigma[0]), torch.is_grad_enabled()))
            return super().forward(x, sigma)

    student = Seen()
    networks = Networks(student, student, Denoiser(), nn.Identity(), {"score": Denoiser()})
    objective, made = DistributionMatching(student_every=1, jumps=(3.0, 0.5)), set()
    for step in range(12):
        levels.clear()
        rng = Float64(0, step, 8, slice(0, 8))
        objective(networks, Batch(torch.zeros(8, 2, dtype=torch.float64)), Progress(step, 12, 0, 12), rng)
        assert [level for level, _ in levels] == [80.0, 3.0, 0.5][: len(levels)]
        assert [learns for _, learns in levels] == [False] * (len(levels) - 1) + [True]
        made.add(len(levels))
    assert made == {1, 2, 3}


@pytest.mark.parametrize(
    "constants, message",
    [
        ({"jumps": [90.0]}, "jumps must be decreasing from below sigma_max (80) on"),
        ({"jumps": [1.0, 2.0]}, "jumps must be decreasing"),
        ({"first": 0.5, "last": 0.5}, "first must be below last (0.5), got 0.5"),
        ({"student_every": 0}, "student_every must be"),
    ],
)
def test_constants_are_checked(constants, message):
    with pytest.raises(InvalidInput) as refusal:
        DistributionMatching(**constants)
    assert message in str(refusal.value)


def test_the_score_begins_as_the_teacher_whose_network_it_must_have(draw_model):
    def function(channels):
        spec = {"network": {"name": "mlp", "channels": channels, "num_blocks": 1}, "name": "cd"}
        return draw_model(spec | {"preconditioning": {"name": "edm"}}, DataSpace("moons", "points", (2,), 1.0)).function

    student, teacher, objective = function(16), function(16), DistributionMatching()
    for weights in teacher.parameters():
        weights.data += 1
    modules = objective.modules(student, 1.0)
    networks = Networks(student, student, teacher, nn.Identity(), modules)
    objective.begin(networks)
    assert all(map(torch.equal, modules["score"].state_dict().values(), teacher.state_dict().values()))
    with pytest.raises(InvalidInput, match="needs a student with its teacher's network"):
        objective.begin(replace(networks, teacher=function(8)))
