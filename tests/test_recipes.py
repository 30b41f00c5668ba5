"""Every recipe there is: it builds, gives a loss of each sample, repeats itself, and trains what it declares."""

import gc
import math
import pickle
import subprocess
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from functools import cache
from pathlib import Path
from weakref import WeakSet

import pytest
import torch
from safetensors.torch import load_file
from torch._dynamo.utils import counters
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode

from fewstep import step_cost as trial
from fewstep.config.parameters import Parameters
from fewstep.data import expected_space
from fewstep.data.augmentation import Augmentation
from fewstep.diffusion.levels import karras_levels
from fewstep.diffusion.randomness import StepRandomness
from fewstep.models.model import Model, SavedModel, build_function
from fewstep.networks import build_network, compiled
from fewstep.objectives import Networks
from fewstep.pipelines.config_loader import RecipeConfigLoader
from fewstep.settings import CONFIG_LOADER_ARGS
from fewstep.training import loop
from fewstep.training.job import Job
from fewstep.training.loop import Divergence, Training, Worker, train
from fewstep.training.recipe import Recipe

pytestmark = pytest.mark.slow

CONF = Path(__file__).parent.parent / "conf"
OVERLAYS = sorted(p.name for p in CONF.iterdir() if (p / "parameters").is_dir())
COSTS = {  # of a step, least and most, in --env=test: student 3; target 1; teacher, by Heun 2; twice where it is guided
    **dict.fromkeys(("ct", "ect", "ict", "sct"), (4, 4)),
    "cd": (6, 6),
    "ctm": (10 + 4, 10 + 4 * 3),  # one to three steps of its guided teacher
    "ctm_gan": (10 + 2, 10 + 2 * 3 + 5),  # and the discriminator
    "facm": (9, 9),
    "meanflow": (1 + 2 + 3, 1 + 2 + 4),  # its own guidance; a share of the rows has no derivative
    "lsd": (3, 5),  # flow matching, or the derivative and the velocity at the end
    "soflow": (4, 4),
    "shortcut": (3, 5),  # flow matching, or against two of the target
    "cmt": (3 + 2 - 1 / 4, 5),  # the teacher by Heun, but for the last of four points
    "cmt_ect": (4, 4),
    "dmd": (
        3 + 2 + 1 + 3,
        9 + 5,
    ),  # two scores, one of which learns; the discriminator
    "ayf": (6, 6),  # two teachers, and the derivative
    "imm": (4, 4),
    "pd": (5, 5),
    "scd": (5, 5),
    "tcm": (5, 5),  # the first stage beside the target
}
RECIPES = sorted(p.stem for p in (CONF / "base" / "parameters" / "recipes").glob("*.yml"))


@cache
def parameters(recipe: str, env: str = "test") -> Parameters:
    return RecipeConfigLoader(str(CONF), env=env, runtime_params={"recipe": recipe}, **CONFIG_LOADER_ARGS).parameters


@pytest.fixture(scope="module")
def patches(tmp_path_factory):
    from fewstep.data import ingest

    return ingest({"name": "patches", "count": 64}, tmp_path_factory.mktemp("data") / "patches")


LITTLE = {"channels": 8, "channel_mult": [1], "attn_resolutions": [16], "middle_attention": False, "dropout": 0.1}


def little(recipe: Recipe, size: int = 4, steps: int = 8) -> Recipe:
    """A recipe and those before it, with little networks. size: of a batch."""
    numbers, earlier = replace(recipe.training, batch_size=size, images=steps * size), recipe.earlier
    earlier = earlier and little(earlier, size, steps)
    return replace(recipe, network=recipe.network | LITTLE, training=numbers, earlier=earlier)


@pytest.fixture(scope="module")
def teacher(patches, tmp_path_factory):
    job = Job.of(little(parameters(RECIPES[0]).teacher, 32, 1), patches)
    return SavedModel.open(train(job, tmp_path_factory.mktemp("teacher")))


@pytest.fixture(scope="module")
def training_of(job_after):
    """A function of (recipe, patches, teacher, folder)."""

    def training(recipe: str, patches, teacher, folder) -> Training:
        return Training(job_after(little(parameters(recipe).student, 8, 64), patches, teacher), folder)

    return training


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_budget_of_passes_counts_what_the_method_does(recipe, patches, teacher, job_after, monkeypatch):
    """Each forward pass is one, and its backward pass two."""
    monkeypatch.setattr(trial, "COUNTED", 2)  # the first step and the last
    job = job_after(little(parameters(recipe).student), patches, teacher)
    least, most = COSTS.get(recipe, (3, math.inf))
    # What is made once a batch, as embeddings of levels, is a little more or less than a pass of a small network.
    assert 0.997 * least < trial.passes_of_a_sample(job, torch.device("cpu")) <= 1.003 * most


def loss_of(training: Training, step: int = 0) -> torch.Tensor:
    size = training.settings.batch_size
    rows = slice(0, size)
    rng = StepRandomness(0, step, size, rows)
    return training.step_module(training.batches(step, rows, torch.device("cpu")), training.progress_at(step), rng)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_gives_a_loss_of_each_sample_and_repeats_itself(recipe, patches, teacher, tmp_path, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    first, again, other = loss_of(training), loss_of(training), loss_of(training, step=1)
    for name, loss in first.items():
        assert loss.shape == (training.settings.batch_size,)
        assert torch.equal(loss, again[name])
        assert not torch.equal(loss, other[name])


@pytest.mark.parametrize("recipe", RECIPES)
def test_gradients_reach_exactly_what_is_trained(recipe, patches, teacher, tmp_path, randomised, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    randomised(training.networks.student, std=0.1)
    for module in training.networks.modules.values():
        randomised(module, std=1.0)
    for loss in loss_of(training).values():
        loss.sum().backward(retain_graph=True)
    missing = [
        n for n, p in training.step_module.trained.named_parameters() if p.grad is None or not p.grad.abs().sum()
    ]
    assert missing == []
    frozen = [training.average, training.networks.teacher, training.networks.earlier, training.networks.distance]
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


PASSES = {"cd": 2, "ct": 2, "ict": 2, "ect": 2, "facm": 2, "pd": 1, "scd": 1, "sct": 1, "ctm": 5, "ctm_gan": 5}
PASSES |= {"meanflow": 4, "soflow": 2, "shortcut": 4, "lsd": 3}
PASSES |= {"ayf": 1, "cmt": 1, "cmt_ect": 2, "imm": 2, "tcm": 2}


@pytest.mark.parametrize("recipe", RECIPES)
def test_the_passes_of_a_step_share_their_dropout_mask(recipe, patches, teacher, tmp_path, monkeypatch, training_of):
    seen = masks_of(training_of(recipe, patches, teacher, tmp_path))
    assert len(seen) == PASSES.get(recipe, len(seen)) >= 1 and seen[0].any()
    of_size = {len(mask): mask for mask in seen}  # some methods pass shares of the rows
    assert all(torch.equal(mask, of_size[len(mask)]) for mask in seen)
    monkeypatch.setattr(StepRandomness, "dropout", lambda self: nullcontext())
    first, *others = masks_of(training_of(recipe, patches, teacher, tmp_path))
    assert not any(torch.equal(mask, first) for mask in others), "it is the seed that makes them equal"


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_tells_its_divergence_before_any_weight_has_changed(recipe, patches, teacher, tmp_path, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    training.make_step()
    with torch.no_grad():
        next(training.networks.student.parameters()).view(-1)[0] = math.nan
    before = {name: tensor.clone() for name, tensor in training.state().items()}
    with pytest.raises(Divergence, match=rf"{recipe} diverged at step 1 .* at levels? .*no checkpoint yet"):
        training.make_step()
        training.report()
    assert all(torch.equal(tensor.nan_to_num(), before[name].nan_to_num()) for name, tensor in training.state().items())


def reported_step(training: Training) -> dict[str, float]:
    training.make_step()
    return training.report()


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_in_bf16_and_is_taken_up_in_the_same_bits(
    recipe, patches, teacher, tmp_path, randomised, job_after
):
    student, steps, bits = little(parameters(recipe).student), {}, {}
    for name, precision in (("plain", "fp32"), ("whole", "bf16"), ("broken", "bf16")):
        rounded = replace(student, training=replace(student.training, precision=precision))
        job = job_after(rounded, patches, teacher)
        training = Training(job, tmp_path / name)
        randomised(training.step_module.trained, std=0.1)
        steps[name] = [reported_step(training)]
        if name == "broken":
            training.save()
            training = Training(job, tmp_path / name)
        steps[name].append(reported_step(training))
        bits[name] = training.state()
    for rounded, exact in zip(steps["whole"], steps["plain"], strict=True):
        assert rounded != exact and rounded == pytest.approx(exact, rel=0.05)
    assert steps["broken"] == steps["whole"]
    assert all(torch.equal(tensor, bits["broken"][key]) for key, tensor in bits["whole"].items())
    assert not any(tensor.dtype == torch.bfloat16 for tensor in bits["whole"].values())


class HostReads(TorchDispatchMode):
    """Counts how often a value is read from a tensor: on an accelerator the process waits for it."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default)
        return function(*args, **(kwargs or {}))


DRAWN_ON_THE_HOST = {"ctm": 1, "ctm_gan": 1}  # how many steps the solver makes decides what is launched


@pytest.mark.parametrize("recipe", RECIPES)
def test_between_two_lines_of_progress_nothing_is_read_from_the_device(recipe, patches, teacher, tmp_path, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    training.make_step()  # the first one looks how many steps the optimiser has made
    with HostReads() as reads:
        training.make_step()
    with HostReads() as others:
        training.report()
    assert reads.count == DRAWN_ON_THE_HOST.get(recipe, 0) and others.count > 0


GRAPHS = {"ctm": 5, "ctm_gan": 5, "facm": 3, "meanflow": 4, "pd": 3, "scd": 2, "sct": 1}
"""Passes of a step that are compiled each for itself, if not those of student, target and teacher: MeanFlow guides
itself, and has both flow matching and a derivative; the teacher of a stage that was a student has other settings than
the first one; and CTM's target passes a gradient on in one of its two.
"""


@pytest.fixture
def counting(monkeypatch):
    """A list to which each graph is added that dynamo has made, of trainings that compile with a backend that only
    counts.
    """
    graphs = []

    def count(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    counters.clear()
    monkeypatch.setattr(compiled, "BACKEND", count)
    monkeypatch.setattr(loop, "compiler_works", lambda device: True)
    return graphs


def compared(recipe: str, patches, folder, worker: Worker, randomised, job_after) -> Training:
    """A training of a recipe's student and teacher of little networks, in eight steps."""
    student, teacher = little(parameters(recipe).student), little(parameters(recipe).teacher)
    spec = replace(teacher.spec(patches.sha256), provenance=Job.of(teacher, patches).provenance)
    saved = Model(randomised(build_function(spec, patches.space), 1, 0.1), patches.space, spec).save(folder / "teacher")
    training = Training(job_after(student, patches, saved), folder / "run", worker)
    randomised(training.step_module.trained, std=0.1)
    return training


@pytest.mark.check
@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_is_compiled_without_a_break_and_once(recipe, patches, tmp_path, randomised, counting, job_after):
    """Over a whole training, with all values of its schedules and all its stages."""
    plain = compared(recipe, patches, tmp_path / "plain", Worker(), randomised, job_after)
    expected = [reported_step(plain) for _ in range(plain.settings.steps)]
    assert not counting
    training = compared(recipe, patches, tmp_path / "compiled", Worker(compiled=True), randomised, job_after)
    found = [reported_step(training) for _ in range(training.settings.steps)]
    assert found == [pytest.approx(step, rel=1e-5) for step in expected]
    assert not counters["graph_break"]
    assert 1 <= len(counting) <= GRAPHS.get(recipe, 3)
    assert training.model().spec.provenance.more["compiled"] and not plain.model().spec.provenance.more["compiled"]


SOME = ("ctm_gan", "facm")  # two passes through one graph; a derivative and a second time
SHORT = [pytest.param(name, marks=[] if name in SOME else pytest.mark.check) for name in RECIPES]


@pytest.mark.parametrize("recipe", SHORT)
def test_a_recipe_whose_activations_are_computed_again_has_the_same_bits(
    recipe, patches, tmp_path, randomised, job_after
):
    states = []
    for recomputes in (False, True):
        worker = Worker(recomputes=recomputes)
        training = compared(recipe, patches, tmp_path / str(recomputes), worker, randomised, job_after)
        for _ in range(5):  # the last one with a discriminator
            training.make_step()
        training.report()
        states.append(training.state())
    plain, again = states
    assert all(torch.equal(tensor, again[name]) for name, tensor in plain.items())


PROCESS = """
import pickle, sys
from dataclasses import replace
from pathlib import Path
from weakref import finalize

import torch
from torch import distributed

from fewstep.networks import sharding
from fewstep.training.loop import Training, Worker, train

now = most = 0
put_together = sharding._Whole.apply


def count(numbers):
    global now, most
    now += numbers
    most = max(now, most)


def followed(*rows):
    whole = put_together(*rows)
    for weight in whole:
        count(weight.numel())
        finalize(weight.untyped_storage(), count, -weight.numel())
    return whole


def units(network):
    cut = [m for m in network.modules() if isinstance(m, sharding.Shardable)]
    root, *blocks = [2 * sum(unit.get_parameter(name).numel() for name in unit.cut) for unit in cut]
    return root, blocks


sharding._Whole.apply = followed

folder, rank = Path(sys.argv[1]), int(sys.argv[2])
torch.set_num_threads(1)
distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
for name, job in pickle.loads((folder / "jobs").read_bytes()).items():
    run, generator = folder / name, torch.Generator().manual_seed(0)
    whole = Training(job, run, Worker(rank, 2))
    with torch.no_grad():
        for parameter in whole.step_module.trained.parameters():
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
    whole.save()  # of weights that do something from the start, and from which the other goes on
    distributed.barrier()
    sharded = Training(job, run, Worker(rank, 2, shards=True))
    held = [sum(p.numel() for p in training.average.parameters()) for training in (whole, sharded)]
    reports, most = [], 0
    for training in (whole, sharded):
        while training.step < training.settings.steps:
            training.make_step()
        reports.append(training.report())
    states, models = [training.state() for training in (whole, sharded)], [t.model() for t in (whole, sharded)]
    sharded.save()
    if rank == 0:
        alive = most, now, *units(sharded.average.network)
        torch.save((held, alive, reports, states, [model.sha256 for model in models]), folder / f"{name}.pt")
    distributed.barrier()
numbers = replace(job.recipe.training, averages=(0.1,), snapshots=2)  # of the last recipe, to its end
for shards in (False, True):
    job = replace(job, recipe=replace(job.recipe, training=numbers))
    train(job, folder / f"finished-{shards}", Worker(rank, 2, shards=shards))
"""
IN_SHORT = ("cd", "ctm_gan", "pd", "scd")
GRAPH_PASSES = {"ctm": 4, "ctm_gan": 4}  # with a graph: the weights around the blocks stay for the backward pass


@pytest.fixture(scope="module")
def trained_by_two(patches, tmp_path_factory, randomised, job_after):
    """A function of recipes: a folder where two processes have trained each of them, whole and cut among them."""

    def run(recipes):
        folder, jobs = tmp_path_factory.mktemp("two"), {}
        for name in recipes:
            student, teacher = (little(recipe, 8, 4) for recipe in (parameters(name).student, parameters(name).teacher))
            spec = replace(teacher.spec(patches.sha256), provenance=Job.of(teacher, patches).provenance)
            function = randomised(build_function(spec, patches.space), 1, 0.1)
            jobs[name] = job_after(
                student, patches, Model(function, patches.space, spec).save(folder / f"teacher-{name}")
            )
        (folder / "jobs").write_bytes(pickle.dumps(jobs))
        processes = [subprocess.Popen([sys.executable, "-c", PROCESS, str(folder), str(rank)]) for rank in (0, 1)]
        assert [process.wait(timeout=1800) for process in processes] == [0, 0]
        return folder, jobs

    return cache(run)


@pytest.mark.parametrize(
    ("recipe", "beside"),
    [
        *((name, IN_SHORT) for name in IN_SHORT),
        *(pytest.param(name, tuple(RECIPES), marks=pytest.mark.check) for name in RECIPES if name not in IN_SHORT),
    ],
)
def test_a_recipe_cut_among_two_workers_trains_as_the_whole_one(recipe, beside, trained_by_two):
    folder, jobs = trained_by_two(beside)
    held, (most, left, root, blocks), reports, (whole, sharded), models = torch.load(folder / f"{recipe}.pt")
    assert held[1] < 0.55 * held[0], "about half of the weights"
    assert left == 0 and most < GRAPH_PASSES.get(recipe, 2) * root + 2 * max(blocks)
    assert 2 * max(blocks) < 0.6 * sum(blocks), "two blocks are together at once, and not all of them"
    assert reports[1] == pytest.approx(reports[0], rel=1e-4)
    assert whole.keys() == sharded.keys()
    for name, tensor in whole.items():
        assert (tensor - sharded[name]).norm() <= 1e-4 * tensor.norm() + 1e-9, name
    one = Training(jobs[recipe], folder / recipe)  # by another number of workers
    assert one.step == one.settings.steps and all(torch.equal(t, sharded[name]) for name, t in one.state().items())
    assert one.model().sha256 == models[1]


def test_a_training_that_is_cut_leaves_the_files_of_any_other(trained_by_two):
    folder, _ = trained_by_two(IN_SHORT)
    runs = [folder / f"finished-{shards}" for shards in (False, True)]
    names, its_names = ({str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()} for run in runs)
    assert names == its_names and any("snapshots" in name for name in names) and any(".png" in name for name in names)
    for name in sorted(name for name in names if name.endswith(".safetensors")):
        whole, cut = (load_file(run / name) for run in runs)
        for key, tensor in whole.items():
            assert (tensor - cut[key]).norm() <= 1e-4 * tensor.norm() + 1e-9, (name, key)


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_recipe_trains_and_its_model_samples(recipe, patches, teacher, tmp_path, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    training.make_step()
    model = training.model().save(tmp_path / "model").load("cpu")
    assert model.samplers[0] == training.objective.sampler
    for nfe in (1, 2, 4):
        assert len(model.levels(nfe)) == nfe and model.sample(nfe=nfe, seed=0, indices=range(2)).shape == (2, 3, 16, 16)


def from_elsewhere(teacher, **changes):
    """A teacher as one that was imported, which says nothing of a training."""
    provenance = replace(teacher.spec.provenance, source="network.pkl", training=None)
    return replace(teacher, spec=replace(teacher.spec, provenance=provenance, **changes))


@pytest.mark.parametrize("recipe", ["ctm", "facm"])
def test_guidance_by_a_loaded_teacher_that_always_had_labels_is_refused(recipe, patches, teacher):
    student = little(parameters(recipe).student)
    Job.of(student, patches, teacher)
    with pytest.raises(ValueError, match=f"{recipe}: objective.guidance is 1.5, so .*also trained without labels"):
        Job.of(student, patches, from_elsewhere(teacher))


def test_labels_by_a_loaded_teacher_without_any_are_refused(patches, teacher):
    student = little(parameters("cd").student)
    Job.of(student, patches, from_elsewhere(teacher))
    with pytest.raises(ValueError, match="^cd: teacher.training.labels must be true if training.labels is"):
        Job.of(student, patches, from_elsewhere(teacher, labels=False))


def test_a_loaded_teacher_is_of_the_students_network_and_of_the_datas_scale(patches, teacher):
    student = little(parameters("cd").student)
    with pytest.raises(ValueError, match=r"cd: .*the teacher's has network.norm_eps=1e-05 \(not 0.001\)"):
        Job.of(replace(student, network=student.network | {"norm_eps": 1e-3}), patches, teacher)
    elsewhere = replace(from_elsewhere(teacher), space=replace(teacher.space, scale=2.0))
    with pytest.raises(ValueError, match="cd: the teacher was trained at scale 2, and these data have .*data.scale=2"):
        Job.of(student, patches, elsewhere)


def test_every_recipe_file_holds_the_recipe_of_its_name():
    for recipe in RECIPES:
        assert parameters(recipe).recipe == recipe


@pytest.mark.parametrize("env", OVERLAYS)
def test_every_overlay_has_every_recipe(env):
    found = parameters(RECIPES[0], env)
    assert sorted(found.students) == RECIPES
    for student in found.students.values():  # of which only the chosen one was tried on the data
        if space := expected_space(found.data.source, found.dataset):
            student.check_fits(space, found.teacher, workers=1)
        else:
            student.check_labels(found.teacher)


@pytest.mark.parametrize(
    ("env", "recipe", "iterations", "batch", "rate", "decay"),
    [
        ("cifar10", "cd", 800_000, 512, 4e-4, 0.9999),
        ("cifar10", "ct", 800_000, 512, 4e-4, 0.9999),
        ("cifar10", "ict", 400_000, 1024, 1e-4, 0.99993),
        ("cifar10", "ect", 200_000, 128, 1e-4, 0.9999),
        ("cifar10", "sct", 400_000, 512, 1e-4, 0.9999),
        ("cifar10", "scd", 400_000, 512, 1e-4, 0.9999),
        ("cifar10", "ctm", 100_000, 256, 4e-4, 0.999),
        ("cifar10", "ctm_gan", 100_000, 256, 4e-4, 0.999),
        ("imagenet64", "ctm", 30_000, 1440, 4e-4, 0.999),
        ("imagenet64", "ctm_gan", 49_000, 4224, 8e-6, 0.999),
        ("imagenet64", "cd", 600_000, 2048, 8e-6, 0.999943),
        ("imagenet64", "ct", 800_000, 2048, 8e-6, 0.999943),
        ("lsun256", "cd", 600_000, 2048, 1e-5, 0.0),
        ("lsun256", "ct", 1_000_000, 2048, 1e-5, 0.999943),
    ],
)
def test_overlays_have_the_published_settings(env, recipe, iterations, batch, rate, decay):
    settings = parameters(recipe, env).student.training
    assert (settings.steps, settings.batch_size, settings.learning_rate) == (iterations, batch, rate)
    assert (settings.optimizer, settings.learning_rate_decay) == ("radam", "constant")
    assert settings.flips == (recipe != "ect")
    assert settings.ema_decay_at(batch) == pytest.approx(decay, abs=5e-7), "no ramp-up"


EDM = {"optimizer": "adam", "learning_rate_decay": "constant", "clip": 0.0, "learning_rate_warmup": 10_000_000}
PD = {"optimizer": "adam", "learning_rate": 5e-5, "learning_rate_decay": "linear", "clip": 1.0}
EDM2_RATE = {"learning_rate": 1e-2, "learning_rate_decay": "inverse_sqrt", "learning_rate_reference": 35_000 * 2048}
EDM2_RATE |= {"learning_rate_warmup": 10_000_000, "batch_size": 2048, "optimizer": "adam", "clip": 0.0, "flips": False}
STAGES = 11 * 50_000 + 2 * 100_000  # 4096, 2048, ... 1 steps, the last two longer
AUGMENT = dict.fromkeys(Augmentation.__dataclass_fields__, 0.0) | {"xflip": 1.0}
AUGMENT |= dict.fromkeys(("yflip", "scale", "rotate_frac", "aniso", "translate_frac"), 0.12)
ECT_64 = {"q": 4.0, "k": 8.0, "b": 1.0, "level_mean": -0.8, "level_std": 1.6, "weight": "edm"}
CTM = {"distance": "lpips", "target_ema": 0.999, "inner_jump": "student"}
CONSTANTS = [  # of the table above, what is not the same for all
    ("cifar10", "teacher", "training", {**EDM, "learning_rate": 1e-3, "batch_size": 512, "images": 200_000_000}),
    ("cifar10", "teacher", "training", {"ema_halflife": 500_000, "flips": False, "augment": AUGMENT}),
    ("cifar10", "teacher", "network", {"dropout": 0.13, "augment_dim": 9}),
    ("imagenet64", "teacher", "training", {**EDM, "learning_rate": 1e-4, "batch_size": 4096, "images": 2_500_000_000}),
    ("imagenet64", "teacher", "training", {"ema_halflife": 50_000_000, "labels": True}),
    ("imagenet64", "teacher", "network", {"dropout": 0.1}),
    ("lsun256", "teacher", "training", {"optimizer": "adam", "learning_rate": 1e-4, "batch_size": 256}),
    ("lsun256", "teacher", "network", {"dropout": 0.1}),
    ("cifar10", "cd", "objective", {"num_levels": 18, "target_ema": 0.0, "solver": "heun", "distance": "lpips"}),
    ("imagenet64", "cd", "objective", {"num_levels": 40, "target_ema": 0.95, "solver": "heun", "distance": "lpips"}),
    ("lsun256", "cd", "objective", {"num_levels": 40, "target_ema": 0.95, "solver": "heun", "distance": "lpips"}),
    ("cifar10", "ct", "objective", {"start_levels": 2, "end_levels": 150, "start_ema": 0.9, "distance": "lpips"}),
    ("imagenet64", "ct", "objective", {"start_levels": 2, "end_levels": 200, "start_ema": 0.95, "distance": "lpips"}),
    ("lsun256", "ct", "objective", {"start_levels": 2, "end_levels": 150, "start_ema": 0.95, "distance": "lpips"}),
    ("cifar10", "ict", "network", {"dropout": 0.3, "embedding": "fourier", "fourier_scale": 0.02}),
    ("imagenet64", "ict", "network", {"dropout": 0.2, "embedding": "fourier", "fourier_scale": 0.02}),
    ("cifar10", "ict", "objective", {"start_levels": 10, "end_levels": 1280, "level_mean": -1.1, "level_std": 2.0}),
    ("cifar10", "ict", "levels", {"2": [0.821]}),
    ("cifar10", "ect", "network", {"dropout": 0.2}),
    ("cifar10", "ect", "objective", {"q": 2.0, "k": 8.0, "b": 1.0, "num_stages": 8}),
    ("cifar10", "ect", "objective", {"distance": {"name": "pseudo_huber", "c": 1e-8}}),
    ("cifar10", "ect", "levels", {"2": [0.821]}),
    ("imagenet64", "ect", "objective", {**ECT_64, "distance": {"name": "pseudo_huber", "c": 0.06}}),
    ("imagenet64", "ect", "training", {"optimizer": "adam", "images": 12_800_000, "batch_size": 128}),
    ("cifar10", "ctm", "objective", {**CTM, "num_levels": 18, "solver_steps": 17}),
    ("imagenet64", "ctm", "objective", {**CTM, "num_levels": 40, "solver_steps": 39}),
    ("imagenet64", "ctm_gan", "objective", {**CTM, "num_levels": 40, "solver_steps": 20}),
    ("cifar10", "scd", "objective", {"tangent_norm": "rms", "tangent_constant": 0.1}),
    ("cifar10", "facm", "training", {"clip": 1.0, "averages": (0.05, 0.2), "optimizer": "adamw"}),
    ("imagenet64", "facm", "objective", {"guided_from": 0.125}),
    ("cifar10", "pd", "training", {"ema_halflife": 0.0}),
    ("cifar10", "meanflow", "objective", {"from_data": True, "error_power": 0.75, "error_constant": 1e-3}),
    ("cifar10", "meanflow", "objective", {"pairs": "capped", "flow_share": 0.25, "next_mean": -4.0}),
    ("cifar10", "meanflow", "training", {"optimizer": "adam", "learning_rate": 6e-4, "batch_size": 1024}),
    ("cifar10", "soflow", "objective", {"ratio_start": 1.0, "ratio_end": 0.0003125, "flow_share": 0.0}),
    ("cifar10", "soflow", "training", {"optimizer": "radam", "learning_rate": 1e-4, "images": 819_200_000}),
    ("cifar10", "pd", "training", {**PD, "batch_size": 512, "images": STAGES * 512}),
    ("cifar10", "pd", "objective", {"start_steps": 4096, "end_steps": 1}),
    ("imagenet64", "pd", "training", {**PD, "batch_size": 2048, "images": STAGES * 2048}),
    ("imagenet64", "pd", "objective", {"start_steps": 4096, "end_steps": 1}),
    ("imagenet64-edm2", "teacher", "training", EDM2_RATE | {"images": 1024 * 2**20, "betas": (0.9, 0.99)}),
    ("imagenet64-edm2", "teacher", "objective", {"level_mean": -0.8, "level_std": 1.6, "log_variance": True}),
    (
        "imagenet64-edm2",
        "ect",
        "training",
        {"optimizer": "adam", "learning_rate": 1e-3, "batch_size": 128, "clip": 0.0},
    ),
    ("imagenet64-edm2", "ect", "training", {"images": 100_000 * 128, "learning_rate_reference": 2_000 * 128}),
    ("imagenet64-edm2", "ect", "objective", {"q": 4.0, "k": 8.0, "b": 1.0, "num_stages": 4, "weight": "edm"}),
    ("imagenet64-edm2", "ect", "network", {"dropout": 0.4, "dropout_size": 16}),
    ("imagenet64-edm2", "ect", "levels", {"2": [1.526]}),
]


@pytest.mark.parametrize(("env", "recipe", "section", "published"), CONSTANTS)
def test_overlays_have_the_published_constants(env, recipe, section, published):
    known = parameters("cd", env)
    found = {"teacher": known.teacher, **known.students}[recipe].to_json()[section]
    assert {name: found[name] for name in published} == published


@pytest.mark.parametrize("env", ["cifar10", "imagenet64", "lsun256"])
def test_cd_and_ct_have_no_dropout(env):
    students = parameters("cd", env).students
    assert [students[recipe].network.get("dropout", 0.0) for recipe in ("cd", "ct")] == [0.0, 0.0]


@pytest.mark.parametrize(
    ("env", "recipe", "num_levels", "point", "level"),
    [
        ("cifar10", "cd", 18, 11, 0.585),
        ("imagenet64", "cd", 40, 22, 1.3824),
        ("imagenet64", "ct", 201, 106, 1.9128),
        ("lsun256", "cd", 40, 17, 4.3656),
        ("lsun256", "ct", 151, 67, 3.9912),
    ],
)
def test_second_levels_are_the_points_of_the_grid_that_the_authors_found(env, recipe, num_levels, point, level):
    assert parameters(recipe, env).student.levels == {2: (level,)}
    assert karras_levels(num_levels)[point].item() == pytest.approx(level, rel=1e-3)


@pytest.mark.parametrize(
    ("env", "side", "classes", "millions"),
    [
        ("cifar10", 32, 0, 55.7),
        ("imagenet64", 64, 1000, 295.9),
        ("imagenet64-edm2", 64, 1000, 280.2),
        ("lsun256", 256, 0, 526.3),
    ],
)
def test_overlays_have_networks_of_the_published_size(env, side, classes, millions):
    with torch.device("meta"):
        network = build_network(parameters("cd", env).student.network, (3, side, side), classes)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


@pytest.mark.parametrize(("channels", "millions"), [(192, 280.2), (256, 497.8), (320, 777.5), (384, 1119.3)])
def test_edm2_has_the_published_sizes(channels, millions):
    with torch.device("meta"):
        spec = parameters("ect", "imagenet64-edm2").student.network
        network = build_network(spec | {"channels": channels}, (3, 64, 64), 1000)
    assert sum(p.numel() for p in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_averages_of_edm2_are_power_functions():
    """beta = (1 - 1/t)^(gamma + 1), gamma = 10.289 for a relative width of .075, 16.972 for .05."""
    known = parameters("ect", "imagenet64-edm2")
    for recipe, gamma in ((known.teacher, 10.289), (known.student, 16.972)):
        step, batch = 100_000, recipe.training.batch_size
        kept = recipe.training.ema_decay_at(step * batch)
        assert math.log(kept) == pytest.approx((gamma + 1) * math.log1p(-1 / step), rel=2e-3)


def test_cifar10_has_the_papers_dropout_and_levels_of_scm():
    """Lu and Song 2024: dropout .20 for sCT, none for sCD, and a second time of 1.1."""
    sct, scd = (parameters(recipe, "cifar10").student for recipe in ("sct", "scd"))
    assert (sct.network["dropout"], scd.network["dropout"]) == (0.2, 0.0)
    for recipe in (sct, scd):
        assert math.atan(recipe.levels[2][0] / 0.5) == pytest.approx(1.1, abs=1e-3)
        steps = recipe.training.steps
        assert recipe.start == "teacher" and recipe.objective.warmup * steps == pytest.approx(10_000)
        assert recipe.training.betas == (0.9, 0.99)


def often(*names: str) -> list:
    """Every recipe, these in `make test`, the others in `make check`."""
    return [pytest.param(name, marks=() if name in names else pytest.mark.check) for name in RECIPES]


class Kept:
    """A tensor that autograd keeps, as long as it does, and the network's pass that made it."""

    def __init__(self, tensor, origin):
        self.tensor, self.origin = tensor, origin


@contextmanager
def kept_of(networks: Networks):
    """(passes, kept): the (network, number) of each pass that is made meanwhile, and a set of Kept that lives on."""
    passes, inside, kept = [], [], WeakSet()
    named = {
        name: function for name in ("student", "target", "teacher", "earlier") if (function := getattr(networks, name))
    }
    names = {function.network: name for name, function in reversed(named.items())}  # a target may be the student

    def enter(module, _):
        passes.append((names[module], len(passes)))
        inside.append(passes[-1])

    def keep(tensor):
        one = Kept(tensor.detach(), inside[-1] if inside else None)  # its graph would keep itself
        kept.add(one)
        return one

    handles = [module.register_forward_pre_hook(enter) for module in names]
    handles += [module.register_forward_hook(lambda *_: inside.pop() and None) for module in names]
    with saved_tensors_hooks(keep, lambda one: one.tensor):
        yield passes, kept
    for handle in handles:
        handle.remove()


STUDENT_PASSES = {"ctm": 2, "ctm_gan": 2, "facm": 2}  # the score, and the anchor
STUDENT_PASSES |= {"meanflow": 2, "shortcut": 2, "lsd": 2}  # two shares of the rows


@pytest.mark.parametrize("recipe", often("ict", "ctm", "facm"))
def test_no_graph_is_kept_of_what_target_and_teacher_say(recipe, patches, teacher, tmp_path, training_of):
    training = training_of(recipe, patches, teacher, tmp_path)
    with kept_of(training.networks) as (passes, kept):
        losses = loss_of(training)  # holds its graph
    assert losses and (len(passes) > 1 or recipe == "sct")
    found = {one.origin for one in kept} - {None}
    assert {name for name, _ in found} == {"student"}
    assert len(found) == STUDENT_PASSES.get(recipe, 1)
    del losses
    assert not kept


def storages(tensors) -> dict[int, int]:
    """{place in memory: bytes}."""
    return {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}


@contextmanager
def new_tensors():
    """A function that gives every tensor made meanwhile that something holds."""

    def made():
        gc.collect()
        return [o for o in gc.get_objects() if issubclass(type(o), torch.Tensor)]

    gc.collect()
    gc.freeze()  # what is there already is none of them
    yield made
    gc.unfreeze()


@pytest.mark.parametrize("recipe", often("cd"))
def test_weights_are_held_once_by_student_average_target_and_teacher(recipe, patches, teacher, tmp_path, training_of):
    with new_tensors() as made:
        training = training_of(recipe, patches, teacher, tmp_path)
        for _ in range(3):  # of pd's, the student is the teacher from the second on
            training.make_step()
        found = storages(made())
    networks, objective = training.networks, training.objective
    beside = [networks.distance, *networks.modules.values()]
    slots = [tensor for name, tensor in training.state().items() if name.startswith("optimizer.")]
    for place in storages([*(p for module in beside for p in module.parameters()), *slots]):
        found.pop(place, None)
    held = sum(found.values()) / sum(storages(networks.student.parameters()).values())
    wanted = (
        2
        + objective.needs_teacher
        + objective.needs_earlier
        + (objective.target_decay(training.progress_at(0)) is not None)
    )
    assert held == pytest.approx(wanted, abs=0.1)
