"""Every recipe there is: it builds, gives a loss of each sample, repeats itself, and trains what it declares."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

from onestep.diffusion.randomness import StepRandomness
from onestep.objectives import objective_class
from onestep.pipelines.configuration import RecipeConfigLoader
from onestep.pipelines.training import make_job
from onestep.settings import CONFIG_LOADER_ARGS
from onestep.training.loop import Training, train
from onestep.training.model import Model

CONF = Path(__file__).parent.parent / "conf"
RECIPES = sorted(p.stem for p in (CONF / "base" / "parameters" / "recipes").glob("*.yml"))


def parameters(recipe: str) -> dict:
    loader = RecipeConfigLoader(str(CONF), env="test", runtime_params={"recipe": recipe}, **CONFIG_LOADER_ARGS)
    return loader["parameters"]


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    from onestep.data import ingest

    return ingest({"name": "patches", "count": 64}, tmp_path_factory.mktemp("data") / "patches")


@pytest.fixture(scope="module")
def teacher(patches, tmp_path_factory):
    recipe = parameters(RECIPES[0])["teacher"]
    job = make_job("teacher", recipe | {"training": recipe["training"] | {"images": 32}}, patches)
    return Model.load(train(job, tmp_path_factory.mktemp("teacher")))


def training_of(recipe: str, patches, teacher, folder) -> Training:
    student = parameters(recipe)["student"]
    needed = objective_class(student["objective"]["name"]).needs_teacher or student["start"] == "teacher"
    return Training(make_job(recipe, student, patches, teacher if needed else None), folder)


def loss_of(training: Training, step: int = 0) -> torch.Tensor:
    size = training.settings.batch_size
    rows = slice(0, size)
    rng = StepRandomness(0, step, size, rows)
    return training.step_module(training.batches(step, rows, torch.device("cpu")), training.progress_at(step), rng)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_gives_a_loss_of_each_sample_and_repeats_itself(recipe, patches, teacher, tmp_path):
    training = training_of(recipe, patches, teacher, tmp_path)
    first, again, other = loss_of(training), loss_of(training), loss_of(training, step=1)
    for name, loss in first.items():
        assert loss.shape == (training.settings.batch_size,)
        assert torch.equal(loss, again[name])
        assert not torch.equal(loss, other[name])


@pytest.mark.parametrize("recipe", RECIPES)
def test_gradients_reach_exactly_what_is_trained(recipe, patches, teacher, tmp_path, randomised):
    training = training_of(recipe, patches, teacher, tmp_path)
    randomised(training.networks.student, std=0.1)
    for loss in loss_of(training).values():
        loss.sum().backward(retain_graph=True)
    missing = [
        n for n, p in training.step_module.trained.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert missing == []
    frozen = [training.average, training.networks.teacher, training.networks.distance]
    if training.networks.target is not training.networks.student:
        frozen.append(training.networks.target)
    assert all(p.grad is None for module in frozen if module is not None for p in module.parameters())


def masks_of(training: Training) -> list[torch.Tensor]:
    """What the first dropout hides, in each pass of student and target in a step."""
    seen = []
    for module in {training.networks.student, training.networks.target}:
        first = next(m for m in module.modules() if isinstance(m, torch.nn.Dropout) and m.p > 0)
        first.register_forward_hook(lambda _, inputs, output: seen.append((inputs[0] != 0) & (output == 0)))
    loss_of(training)
    return seen


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_passes_of_a_step_share_their_dropout_mask(recipe, patches, teacher, tmp_path, monkeypatch):
    seen = masks_of(training_of(recipe, patches, teacher, tmp_path))
    assert len(seen) == (1 if recipe == "pd" else 2) and seen[0].any()
    assert all(torch.equal(mask, seen[0]) for mask in seen)
    monkeypatch.setattr(StepRandomness, "dropout", lambda self: nullcontext())
    first, *others = masks_of(training_of(recipe, patches, teacher, tmp_path))
    assert not any(torch.equal(mask, first) for mask in others), "it is the seed that makes them equal"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_model_samples(recipe, patches, teacher, tmp_path):
    training = training_of(recipe, patches, teacher, tmp_path)
    training.make_step()
    model = training.model().save(tmp_path / "model")
    assert model.samplers[0] == training.objective.sampler
    for nfe in (1, 2, 4):
        assert len(model.levels(nfe)) == nfe and model.sample(nfe, 0, range(2)).shape == (2, 3, 16, 16)


def test_every_recipe_file_holds_the_recipe_of_its_name():
    for recipe in RECIPES:
        assert parameters(recipe)["recipe"] == recipe
